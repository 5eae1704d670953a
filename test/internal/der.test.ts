import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readPem, writePem } from '../../src/internal/der/pem.js';
import { DerError, DerReader, oidFromDer } from '../../src/internal/der/reader.js';
import {
  derTag,
  readBoolean,
  readNamedBits,
  readSmallUnsigned,
  readTime,
  readUnsigned,
} from '../../src/internal/der/values.js';
import {
  derBitString,
  derBoolean,
  derOid,
  derSequence,
  derTime,
  derUnsignedInteger,
  derValue,
} from '../../src/internal/der/writer.js';
import { readCertificate } from '../../src/spiffe/certificate.js';
import { TestCa } from '../../src/testing/test-ca.js';

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));

describe('DerReader', () => {
  test.each([
    ['', 'nothing'],
    ['30', 'no length'],
    ['3001', 'contents cut off'],
    ['3080 0000'.replace(' ', ''), 'an indefinite length'],
    ['308100', 'a long form of a short length'],
    ['30817f', 'a long form of a short length'],
    ['30820080', 'leading zeros in a length'],
    ['3085 0100000000'.replace(' ', ''), 'a length of five bytes'],
    ['1f0100', 'a tag of several bytes'],
    ['bf2100', 'a tag of several bytes'],
  ])('refuses %j: %s', (hex) => {
    expect(() => new DerReader(bytes(hex)).read()).toThrow(DerError);
  });

  test('gives what it was told to expect, or nothing', () => {
    const reader = new DerReader(bytes('0101ff0200'));
    expect(() => new DerReader(bytes('0101ff')).read(derTag.integer)).toThrow(DerError);
    expect(reader.readOptional(derTag.integer)).toBeUndefined();
    expect(reader.readOptional(derTag.boolean)?.contents).toEqual(bytes('ff'));
    expect(() => reader.end()).toThrow(DerError);
    reader.read();
    expect([reader.atEnd, reader.nextTag, reader.readOptional(derTag.boolean)]).toEqual([true, undefined, undefined]);
    expect(() => reader.end()).not.toThrow();
  });

  test('property: reads what was written, of any length', () => {
    const tag = fc.constantFrom(0x02, 0x04, 0x30, 0x80, 0xa3);
    const contents = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.integer({ min: 0, max: 70_000 }).map((length) => new Uint8Array(length)),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(tag, contents), { maxLength: 4 }), (elements) => {
        const reader = new DerReader(Buffer.concat(elements.map(([each, value]) => derValue(each, value))));
        for (const [each, value] of elements) {
          const element = reader.read(each);
          expect(Buffer.compare(element.contents, value)).toBe(0);
          expect(Buffer.compare(element.encoded, derValue(each, value))).toBe(0);
        }
        reader.end();
      }),
      { numRuns: 200 },
    );
  });

  test('property: what reads is what would be written: there is one encoding of everything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (noise) => {
        try {
          const element = new DerReader(noise).read();
          expect(Buffer.compare(derValue(element.tag, element.contents), element.encoded)).toBe(0);
        } catch (error) {
          expect(error).toBeInstanceOf(DerError);
        }
      }),
      { numRuns: 5000 },
    );
  });
});

describe('values', () => {
  test('booleans are 00 or ff', () => {
    expect([readBoolean(bytes('ff')), readBoolean(bytes('00'))]).toEqual([true, false]);
    expect(new DerReader(derBoolean(true)).read().contents).toEqual(bytes('ff'));
    for (const hex of ['', '01', 'fe', 'ffff']) expect(() => readBoolean(bytes(hex))).toThrow(DerError);
  });

  test('integers are not negative and in their shortest form', () => {
    for (const hex of ['', '80', 'ff', '0000', '007f', 'ffff'])
      expect(() => readUnsigned(bytes(hex))).toThrow(DerError);
    expect(readUnsigned(bytes('00'))).toEqual(bytes('00'));
    expect(readUnsigned(bytes('0080'))).toEqual(bytes('80'));
    expect(readSmallUnsigned(bytes('7fffffff'))).toBe(0x7fffffff);
    for (const hex of ['0080000000', '0100000000']) expect(() => readSmallUnsigned(bytes(hex))).toThrow(DerError);
  });

  test('property: integers go through unchanged', () => {
    fc.assert(
      fc.property(fc.nat(), (value) => {
        const hex = value.toString(16);
        const encoded = derUnsignedInteger(bytes(hex.length % 2 === 0 ? hex : `0${hex}`));
        expect(readSmallUnsigned(new DerReader(encoded).read(derTag.integer).contents)).toBe(value);
      }),
    );
  });

  test('property: object identifiers go through unchanged', () => {
    const arcs = fc.array(fc.nat(2 ** 40), { maxLength: 6 });
    fc.assert(
      fc.property(fc.nat(2), fc.nat(39), arcs, (first, second, rest) => {
        const dotted = [first, second, ...rest].join('.');
        expect(oidFromDer(new DerReader(derOid(dotted)).read(derTag.oid).contents)).toBe(dotted);
      }),
    );
    for (const hex of ['', '80', '8001', '2a80', '2a8001', 'ffffffffffffffffff7f']) {
      expect(() => oidFromDer(bytes(hex))).toThrow(DerError);
    }
  });

  test('named bits', () => {
    const bits = (hex: string) => [...readNamedBits(bytes(hex))];
    expect([bits('00'), bits('0780'), bits('0106'), bits('070080')]).toEqual([[], [0], [5, 6], [8]]);
    for (const hex of ['', '01', '0880', '07ff', '000000000000']) expect(() => bits(hex)).toThrow(DerError);
    expect([...readNamedBits(new DerReader(derBitString(Uint8Array.of(0xa0), 5)).read().contents)]).toEqual([0, 2]);
  });

  test('times', () => {
    const time = (text: string, tag: number = derTag.utcTime) =>
      readTime({ tag, contents: Buffer.from(text), encoded: new Uint8Array() });
    expect(time('300101000000Z')).toBe(Date.UTC(2030, 0, 1));
    expect(time('500101000000Z')).toBe(Date.UTC(1950, 0, 1));
    expect(time('240229235959Z')).toBe(Date.UTC(2024, 1, 29, 23, 59, 59));
    expect(time('99991231235959Z', derTag.generalizedTime)).toBe(Date.UTC(9999, 11, 31, 23, 59, 59));
    expect(time('00010101000000Z', derTag.generalizedTime)).toBe(new Date('0001-01-01T00:00:00Z').getTime());
    for (const text of [
      '',
      '3001010000Z',
      '300101000000',
      '300101000000+0000',
      '301301000000Z',
      '300230000000Z',
      '230229000000Z',
      '300101240000Z',
      '300101006000Z',
      '300100000000Z',
      '20300101000000Z',
      '300101000000Z\n',
      '3001010000 0Z',
    ]) {
      expect(() => time(text)).toThrow(DerError);
    }
    expect(() => time('20300101000000.5Z', derTag.generalizedTime)).toThrow(DerError);
    expect(() => time('300101000000Z', derTag.octetString)).toThrow(DerError);
  });

  test('property: times go through unchanged', () => {
    const date = fc.date({
      min: new Date('1950-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59Z'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(date, (value) => {
        const wholeMs = Math.floor(value.getTime() / 1000) * 1000;
        expect(readTime(new DerReader(derTime(new Date(wholeMs))).read())).toBe(wholeMs);
      }),
    );
  });
});

describe('PEM', () => {
  test('property: blocks go through unchanged', () => {
    const blocks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), { maxLength: 4 });
    fc.assert(
      fc.property(blocks, fc.constantFrom('', '\n', '\r\n \n'), (list, gap) => {
        const text = list.map((block) => writePem(block, 'CERTIFICATE')).join(gap);
        expect(readPem(text, 'CERTIFICATE')).toEqual(list);
        expect(readPem(text.replaceAll('\n', '\r\n'), 'CERTIFICATE')).toEqual(list);
      }),
    );
  });

  const good = writePem(Uint8Array.of(1, 2, 3), 'CERTIFICATE');
  test.each([
    ['text before', `x${good}`],
    ['text after', `${good}x`],
    ['text between', `${good}x\n${good}`],
    ['another label', writePem(Uint8Array.of(1), 'PRIVATE KEY')],
    ['labels that differ', good.replace('END CERTIFICATE', 'END X')],
    ['bad base64', good.replace('AQID', 'AQI')],
    ['no end', good.replace(/-----END.*/, '')],
    ['attributes', good.replace('AQID', 'Proc-Type: 4,ENCRYPTED\n\nAQID')],
  ])('%s is refused', (_what, text) => {
    expect(() => readPem(text, 'CERTIFICATE')).toThrow(DerError);
  });
});

describe('fuzz: a certificate of any bytes is read or refused, quickly and with its code', () => {
  const [good = new Uint8Array()] = TestCa.create().svid('spiffe://cluster.local/agent/a').certificates;
  const outcome = (der: Uint8Array): unknown => {
    try {
      readCertificate(der);
      return undefined;
    } catch (error) {
      return (error as { code?: unknown }).code;
    }
  };
  const allowed = [undefined, 'SPIFFE_X509_MALFORMED', 'SPIFFE_X509_LIMIT'];

  test('noise', () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.uint8Array({ maxLength: 300 }).map((body) => derSequence(derSequence(body))),
    );
    fc.assert(
      fc.property(noise, (der) => {
        expect(allowed).toContain(outcome(der));
      }),
      { numRuns: 1000 },
    );
  });

  test('a good one, cut, lengthened, and with bytes changed', () => {
    for (let length = 0; length < good.length; length += 1)
      expect(outcome(good.subarray(0, length))).toBe('SPIFFE_X509_MALFORMED');
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(edits, (changes) => {
        const der = Uint8Array.from(good);
        for (const [at, value] of changes) der[at] = value;
        expect(allowed).toContain(outcome(der));
      }),
      { numRuns: 3000 },
    );
  });
});
