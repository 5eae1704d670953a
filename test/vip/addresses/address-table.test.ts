import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AddressTable, kernelLifetimeMs, largestLifetimeSeconds } from '../../../src/vip/addresses/index.js';
import { NetnsLab } from '../../../src/testing/index.js';
import type { NetNamespace } from '../../../src/testing/index.js';
import { describeRequiring } from '../../support/requirements.js';
import { inNamespace } from '../manager/in-namespace.js';

const run = promisify(execFile);
const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

it('fits lifetimes of whole seconds into what a lease leaves', () => {
  expect(largestLifetimeSeconds(1_279)).toBe(0);
  expect(largestLifetimeSeconds(1_280)).toBe(1);
  for (const ms of [1_280, 1_999, 2_280, 10_000, 123_456]) {
    const seconds = largestLifetimeSeconds(ms);
    expect(kernelLifetimeMs(seconds)).toBeLessThanOrEqual(ms);
    expect(kernelLifetimeMs(seconds + 1)).toBeGreaterThan(ms);
  }
});

describeRequiring({ netns: true, native: true, commands: ['setpriv'] }, 'AddressTable', () => {
  let lab: NetnsLab;
  let node: NetNamespace;
  beforeAll(async () => {
    lab = await NetnsLab.create();
    node = await lab.namespace('node');
    const peer = await lab.namespace('peer');
    await lab.link(
      { namespace: node, device: 'eth0', addresses: ['10.0.0.1/24'] },
      { namespace: peer, device: 'eth0' },
    );
  });
  afterAll(() => lab.close());

  const table = (tag?: number): AddressTable => inNamespace(node, () => new AddressTable({ tag }));
  const shown = (): Promise<string> => node.ip('-o', 'address', 'show');

  it('adds, lists and removes IPv4 and IPv6 on an interface and on lo, marked as ours', async () => {
    using own = table();
    const addresses = [
      { ip: '203.0.113.10', device: 'eth0' },
      { ip: '2001:db8::10', device: 'eth0' },
      { ip: '203.0.113.11', device: 'lo' },
      { ip: '2001:db8::11', device: 'lo' },
    ];
    for (const address of addresses) await own.add(address, undefined);
    // Again: an own address is taken over, as after a restart.
    for (const address of addresses) await own.add(address, 60);
    expect([...(await own.listOwn())].sort((a, b) => (a.ip < b.ip ? -1 : 1))).toEqual(
      addresses.toSorted((a, b) => (a.ip < b.ip ? -1 : 1)),
    );
    expect(await shown()).toMatch(/203\.0\.113\.10\/32 .*valid_lft (59|60)sec/s);
    // Never a source address, and usable at once.
    expect(await shown()).toMatch(
      /2001:db8::10\/128 scope global (?=[^\n]*deprecated)[^\n]*nodad [^\n]*preferred_lft 0sec/s,
    );
    expect(await node.ip('-6', 'route', 'get', '2001:db8::10')).toContain('local');
    for (const address of addresses) await own.remove(address);
    for (const address of addresses) await own.remove(address);
    expect(await own.listOwn()).toEqual([]);
    expect(await shown()).not.toContain('203.0.113.1');
  });

  it('sweeps what an earlier run left, and leaves alone what others put there', async () => {
    await node.ip('address', 'add', '203.0.113.20/32', 'dev', 'eth0');
    using other = table(77);
    await other.add({ ip: '203.0.113.21', device: 'eth0' }, undefined);
    {
      using dead = table();
      await dead.add({ ip: '203.0.113.22', device: 'eth0' }, 60);
      await dead.add({ ip: '2001:db8::22', device: 'lo' }, 60);
    }
    using own = table();
    await expect(own.add({ ip: '203.0.113.20', device: 'eth0' }, 1)).rejects.toMatchObject({
      code: 'VIP_ADDRESS_FOREIGN',
    });
    await expect(own.add({ ip: '203.0.113.21', device: 'eth0' }, 1)).rejects.toMatchObject({
      code: 'VIP_ADDRESS_FOREIGN',
    });
    const swept = await own.sweep(({ ip }) => ip === '2001:db8::22');
    expect(swept).toEqual([{ ip: '203.0.113.22', device: 'eth0' }]);
    expect(await own.listOwn()).toEqual([{ ip: '2001:db8::22', device: 'lo' }]);
    const left = await shown();
    expect(left).toMatch(/10\.0\.0\.1\/24/);
    expect(left).toMatch(/203\.0\.113\.20\/32 .*valid_lft forever/s);
    expect(left).toMatch(/203\.0\.113\.21\/32/);
  });

  it.each(['203.0.113.30', '2001:db8::30'])(
    'loses %s by itself within the time that is reckoned with, and keeps it while it is refreshed',
    async (ip) => {
      using own = table();
      const address = { ip, device: 'eth0' };
      await own.add(address, 1);
      for (let refreshed = 0; refreshed < 6; refreshed += 1) {
        await pass(300);
        await own.refresh(address, 1);
      }
      for (let round = 0; round < 4; round += 1) {
        // Ends at different places within the kernel's second.
        await pass(50 + 230 * round);
        const startMs = performance.now();
        await own.refresh(address, 1);
        while ((await own.listOwn()).some((each) => each.ip === ip)) await pass(3);
        const tookMs = performance.now() - startMs;
        expect(tookMs).toBeGreaterThan(975);
        // Mostly within kernelLifetimeMs(1); a kernel that idles is late, and never looks twice within a second.
        expect(tookMs).toBeLessThan(2_100);
      }
    },
  );

  it('puts an own address back that somebody took away, and follows a device made anew', async () => {
    using own = table();
    await own.add({ ip: '203.0.113.40', device: 'eth0' }, 60);
    await node.ip('address', 'del', '203.0.113.40/32', 'dev', 'eth0');
    await own.refresh({ ip: '203.0.113.40', device: 'eth0' }, 60);
    expect(await shown()).toContain('203.0.113.40/32');
    await node.ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    await own.add({ ip: '203.0.113.41', device: 'v0' }, 60);
    await node.ip('link', 'del', 'v0');
    await expect(own.refresh({ ip: '203.0.113.41', device: 'v0' }, 60)).rejects.toMatchObject({
      code: 'VIP_DEVICE_MISSING',
    });
    await own.remove({ ip: '203.0.113.41', device: 'v0' });
    await node.ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    await own.refresh({ ip: '203.0.113.41', device: 'v0' }, 60);
    expect(await shown()).toContain('203.0.113.41/32');
  });

  it('names the capability that is missing', async () => {
    const program = `
      import { AddressTable } from ${JSON.stringify(new URL('../../../src/vip/addresses/index.ts', import.meta.url).href)};
      const table = new AddressTable();
      await table.add({ ip: '203.0.113.50', device: 'lo' }, 1).catch((error) => console.log(error.code, error.message));
      table.close();`;
    const drop = ['--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-net_admin'];
    const args = [...drop, '--', process.execPath, '--import', 'tsx', '--input-type=module', '--eval', program];
    const { stdout } = await run('setpriv', args, { cwd: new URL('../../../', import.meta.url) });
    expect(stdout).toMatch(/^VIP_CAPABILITY_MISSING .*CAP_NET_ADMIN/);
  });
});
