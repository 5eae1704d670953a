import {
  derBitString,
  derBoolean,
  derExplicit,
  derImplicit,
  derOid,
  derSequence,
  derSet,
  derUnsignedInteger,
  derUtf8String,
} from '../../internal/der/writer.js';
import { writePem } from '../../internal/der/pem.js';
import type { TrustDomain } from '../../spiffe/index.js';
import type { RequestedKey } from '../authority-state.js';
import { algorithmOf, extension, oids } from '../certificate.js';
import { rootPinOf } from '../root-pin.js';
import { checkedSigner, generateKey, localSigner } from '../signer.js';
import type { CaKeyType, Signer } from '../signer.js';

export interface CaKeyOptions {
  /** Kind of the new key. Default `P-256`. */
  readonly keyType?: CaKeyType | undefined;
  /** Signs instead of a key made here; must be one of the CA's `signers`. */
  readonly signer?: Signer | undefined;
}

const extensionRequest = derOid('1.2.840.113549.1.9.14');

/** A fresh key, and the request for its certificate. Throws `CA_SIGNER_FAILED`. */
export async function newRequestedKey(trustDomain: TrustDomain, options: CaKeyOptions): Promise<RequestedKey> {
  const privateKey = options.signer === undefined ? generateKey(options.keyType ?? 'P-256') : undefined;
  const signer = privateKey === undefined ? checkedSigner(options.signer as Signer) : localSigner(privateKey);
  return {
    csrPem: writePem(await caRequest(signer, trustDomain), 'CERTIFICATE REQUEST'),
    publicKeyPem: signer.publicKey.export({ format: 'pem', type: 'spki' }) as string,
    ...(privateKey === undefined
      ? {}
      : { privateKeyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string }),
  };
}

/**
 * A request (PKCS #10, RFC 2986) for the certificate of a CA. It asks for what the certificate should say (RFC 2985
 * section 5.4.2): a CA that signs leaves only, for this trust domain. The root's owner decides what it does say.
 */
async function caRequest(signer: Signer, { name }: TrustDomain): Promise<Uint8Array> {
  const spki = signer.publicKey.export({ format: 'der', type: 'spki' });
  const commonName = `${name.slice(0, 48)} CA ${rootPinOf(signer.publicKey).slice('sha256:'.length).slice(0, 8)}`;
  const extensions = derSequence(
    extension(oids.basicConstraints, true, derSequence(derBoolean(true), derUnsignedInteger(Uint8Array.of(0)))),
    // keyCertSign and cRLSign.
    extension(oids.keyUsage, true, derBitString(Uint8Array.of(0x06), 1)),
    extension(oids.subjectAltName, false, derSequence(derImplicit(6, Buffer.from(`spiffe://${name}`, 'ascii')))),
  );
  const info = derSequence(
    derUnsignedInteger(Uint8Array.of(0)),
    derSequence(derSet(derSequence(oids.commonName, derUtf8String(commonName)))),
    spki,
    derExplicit(0, derSequence(extensionRequest, derSet(extensions))),
  );
  return derSequence(info, algorithmOf(signer), derBitString(await signer.sign(info)));
}
