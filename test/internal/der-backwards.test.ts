import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DerBackwards } from '../../src/internal/der/backwards.js';
import { derUnsignedInteger, derValue } from '../../src/internal/der/writer.js';

type Tree = Uint8Array | { readonly tag: number; readonly parts: readonly Tree[] };

const trees = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    fc.uint8Array({ maxLength: 300 }),
    fc.record({ tag: fc.constantFrom(0x30, 0x31, 0xa3, 0x04), parts: fc.array(tie('tree'), { maxLength: 4 }) }),
  ),
})).tree;

function forwards(tree: Tree): Uint8Array {
  return tree instanceof Uint8Array ? tree : derValue(tree.tag, ...tree.parts.map(forwards));
}

function backwards(writer: DerBackwards, tree: Tree): void {
  if (tree instanceof Uint8Array) {
    writer.raw(tree);
    return;
  }
  const end = writer.mark;
  for (const part of [...tree.parts].reverse()) backwards(writer, part);
  writer.close(tree.tag, end);
}

test('written backwards is the same as forwards', () => {
  const writer = new DerBackwards(1 << 20);
  fc.assert(
    fc.property(trees, (tree) => {
      writer.reset();
      backwards(writer, tree);
      expect(writer.finish()).toEqual(new Uint8Array(forwards(tree)));
    }),
  );
});

test('integers are the same, whatever they begin with', () => {
  const writer = new DerBackwards(64);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 20 }), (magnitude) => {
      writer.reset();
      writer.unsignedInteger(magnitude);
      expect(writer.finish()).toEqual(derUnsignedInteger(magnitude));
    }),
  );
});

test('what does not fit is an error, and the next one is written as if nothing had been', () => {
  const writer = new DerBackwards(8);
  writer.raw(new Uint8Array(6));
  expect(() => writer.raw(new Uint8Array(3))).toThrow(RangeError);
  writer.reset();
  const end = writer.mark;
  writer.octet(7);
  writer.close(0x04, end);
  expect(writer.finish()).toEqual(Uint8Array.of(0x04, 1, 7));
  const large = new DerBackwards(70_000);
  const mark = large.mark;
  large.raw(new Uint8Array(65_536));
  expect(() => large.close(0x30, mark)).toThrow(RangeError);
});
