// Uses what a caller would, from every module, and prints what test/package/consumer.test.ts expects.
import { Cidr, isMeshwrightError, parseSocketAddress } from 'meshwright/core';
import type { Clock, Closable, LatestValue } from 'meshwright/core';

const block = Cidr.parse('10.96.0.0/12');
console.log(String(block.contains('10.97.1.2')));
console.log(parseSocketAddress('[fd00::1]:15002').port);

try {
  Cidr.parse('10.96.0.0/33');
} catch (error) {
  console.log(isMeshwrightError(error, 'CORE_ADDRESS_MALFORMED'));
}

export type Uses = [Clock, Closable, LatestValue<string>];
