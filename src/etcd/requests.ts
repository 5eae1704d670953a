import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CompareSchema, RequestOpSchema, ResponseOp } from './gen/etcd_pb.js';
import type { KeyValue } from './gen/etcd_pb.js';

/** The parts of transactions. */
export type Condition = MessageInitShape<typeof CompareSchema>;
export type Operation = MessageInitShape<typeof RequestOpSchema>;

const equal = 0;
const createRevisionTarget = 1;
const modRevisionTarget = 2;
const valueTarget = 3;

/** The key was last written in `revision`; 0: there is no such key. */
export function unchangedSince(key: Uint8Array, revision: bigint): Condition {
  const targetUnion = { case: 'modRevision', value: revision } as const;
  return { result: equal, target: modRevisionTarget, key, targetUnion };
}

/** The key was made in `revision` and not deleted since; 0: there is no such key. */
export function madeIn(key: Uint8Array, revision: bigint): Condition {
  const targetUnion = { case: 'createRevision', value: revision } as const;
  return { result: equal, target: createRevisionTarget, key, targetUnion };
}

export function holds(key: Uint8Array, value: Uint8Array): Condition {
  return { result: equal, target: valueTarget, key, targetUnion: { case: 'value', value } };
}

export function get(key: Uint8Array): Operation {
  return { request: { case: 'requestRange', value: { key } } };
}

export function put(key: Uint8Array, value: Uint8Array): Operation {
  return { request: { case: 'requestPut', value: { key, value } } };
}

export function remove(key: Uint8Array): Operation {
  return { request: { case: 'requestDeleteRange', value: { key } } };
}

/** The key that the `index`-th response, to a `get`, found. */
export function found(responses: readonly ResponseOp[], index: number): KeyValue | undefined {
  const response = responses[index]?.response;
  return response?.case === 'responseRange' ? response.value.kvs[0] : undefined;
}

/** The end of the range of all keys that begin with `prefix` (which ends in an ASCII character). */
export function afterPrefix(prefix: Uint8Array): Uint8Array {
  const end = Uint8Array.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}
