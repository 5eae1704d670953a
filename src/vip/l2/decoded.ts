/** What a total decoder gives: the value, or the literal reason why the bytes are none. Decoders never throw. */
export type Decoded<Value, Reason extends string> =
  { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly reason: Reason };
