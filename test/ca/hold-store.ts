// Child of stores.test.ts: opens a store, says so, and holds it until it is killed.
import { fileStore } from 'meshwright/ca';

const [directory = '', file = ''] = process.argv.slice(2);
await fileStore({ directory, key: { file } }).open();
process.send?.('open');
process.on('message', () => undefined);
// Where there is no channel to a parent, standard input keeps it alive.
process.stdin.resume();
