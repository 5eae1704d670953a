export { AddressTable } from './address-table.js';
export type { AddressTableOptions, OwnAddress } from './address-table.js';
export { kernelLifetimeMs, largestLifetimeSeconds } from './lifetime.js';
