// One L2Link in a namespace of its own process, told what to do over IPC. Only `take` and `give` touch addresses.
import { AddressTable } from '../../../../src/vip/addresses/index.js';
import { L2Link, arpSettingFindings } from '../../../../src/vip/l2/index.js';
import type { L2Announcement, L2LinkOptions } from '../../../../src/vip/l2/index.js';

export type Command =
  | { readonly op: 'open'; readonly options: L2LinkOptions }
  | { readonly op: 'probe'; readonly ip: string }
  | { readonly op: 'announce' | 'reannounce' | 'stop' | 'take' | 'give'; readonly ip: string }
  | { readonly op: 'own'; readonly owns: boolean }
  | { readonly op: 'events' | 'conflicts' | 'close' | 'cpu' | 'findings' };

const events: unknown[] = [];
const conflicts: unknown[] = [];
const announcements = new Map<string, L2Announcement>();
let link: L2Link | undefined;
let owns = true;

let table: AddressTable | undefined;
const addresses = (): AddressTable => (table ??= new AddressTable());

function opened(): L2Link {
  if (link === undefined) throw new Error('no link');
  return link;
}

function announce(ip: string): void {
  const onConflict = (conflict: unknown): void => void conflicts.push(conflict);
  announcements.set(ip, opened().announce(ip, { onConflict, mayAnnounce: () => owns }));
}

async function perform(command: Command): Promise<unknown> {
  switch (command.op) {
    case 'open':
      link = await L2Link.open({ ...command.options, observer: (event) => void events.push(event) });
      return link.state.current;
    case 'probe':
      return opened().probe(command.ip);
    case 'announce':
      announce(command.ip);
      return undefined;
    case 'reannounce':
      announcements.get(command.ip)?.reannounce();
      return undefined;
    case 'stop':
      announcements.get(command.ip)?.stop();
      return undefined;
    case 'take':
      await addresses().add({ ip: command.ip, device: 'eth0' }, undefined);
      announce(command.ip);
      return undefined;
    case 'give':
      announcements.get(command.ip)?.stop();
      return addresses().remove({ ip: command.ip, device: 'eth0' });
    case 'own':
      owns = command.owns;
      return undefined;
    case 'events':
      return events;
    case 'conflicts':
      return conflicts;
    case 'close':
      return link?.close();
    case 'cpu':
      return process.cpuUsage();
    case 'findings':
      return arpSettingFindings(opened().interface);
  }
}

process.on('message', ({ id, command }: { id: number; command: Command }) => {
  perform(command).then(
    (result) => process.send?.({ id, result }),
    (error: unknown) => {
      const { message, code } = error as Error & { code?: string };
      process.send?.({ id, error: { message, code } });
    },
  );
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
