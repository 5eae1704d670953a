// Interception on real traffic: every backend and mode, over routed veths and over a bridge, with kube-proxy's rules in place.
import { expect, test } from 'vitest';
import { describeRequiring } from '../support/requirements.js';
import { Agent, address, get, installKubeProxy, makeNodeLab, plan, url } from './support/node-lab.js';
import type { KubeProxy, Layout } from './support/node-lab.js';

interface Case {
  readonly backend: 'nftables' | 'iptables';
  readonly mode: 'tproxy' | 'redirect';
  readonly layout: Layout;
  readonly kubeProxy: KubeProxy;
}

const cases: readonly Case[] = [
  { backend: 'nftables', mode: 'tproxy', layout: 'routed', kubeProxy: 'iptables-nft' },
  { backend: 'nftables', mode: 'tproxy', layout: 'routed', kubeProxy: 'iptables-legacy' },
  { backend: 'nftables', mode: 'tproxy', layout: 'bridge', kubeProxy: 'nft' },
  { backend: 'nftables', mode: 'redirect', layout: 'routed', kubeProxy: 'nft' },
  { backend: 'nftables', mode: 'redirect', layout: 'bridge', kubeProxy: 'iptables-legacy' },
  { backend: 'iptables', mode: 'tproxy', layout: 'routed', kubeProxy: 'iptables-nft' },
  { backend: 'iptables', mode: 'tproxy', layout: 'bridge', kubeProxy: 'iptables-legacy' },
  { backend: 'iptables', mode: 'redirect', layout: 'routed', kubeProxy: 'iptables-legacy' },
];

const needs = { netns: true, native: true, commands: ['nft', 'iptables', 'iptables-legacy', 'curl'] };

describeRequiring(needs, 'Interception on real traffic', () => {
  test.each(cases)(
    '$backend $mode, $layout, kube-proxy by $kubeProxy',
    { timeout: 30_000 },
    async ({ backend, mode, layout, kubeProxy }) => {
      await using net = await makeNodeLab(layout);
      await installKubeProxy(net.node, kubeProxy);
      // Without the mesh it is plaintext, so that what follows proves something.
      if (layout === 'routed') expect(await get(net.client, url(address.service[4], 80))).toContain('server:8080');

      const agent = await Agent.start(net.node);
      await agent.tell({ op: 'create', options: { backend, mode } });
      expect(await agent.tell({ op: 'apply', plan })).toMatchObject({ mode, missingInterfaces: [] });
      await agent.tell({ op: 'listen' });

      for (const family of [4, 6] as const) {
        const ip = (who: keyof typeof address): string => address[who][family];
        const shown = (who: keyof typeof address): string => (family === 6 ? `[${ip(who)}]` : ip(who));
        // From a local pod: to the service, and straight to the pod.
        expect(await get(net.client, url(ip('service'), 80))).toBe(
          `outbound ${shown('service')}:80 from ${ip('client')}`,
        );
        expect(await get(net.client, url(ip('server'), 9090))).toBe(
          `outbound ${shown('server')}:9090 from ${ip('client')}`,
        );
        // From elsewhere to an enrolled pod.
        expect(await get(net.outside, url(ip('server'), 8080))).toBe(
          `inbound ${shown('server')}:8080 from ${ip('outside')}`,
        );
        // From the host: probes only.
        expect(await get(net.node, url(ip('server'), 8080))).toBe('refused');
        expect(await get(net.node, url(ip('server'), 9090))).toContain('server:9090');
        // Not enrolled: left alone, in either direction.
        expect(await get(net.server, url(ip('client'), 8080))).toBe(`client:8080 from ${ip('server')}`);
        expect(await get(net.server, url(ip('outside'), 8080))).toBe(`outside:8080 from ${ip('server')}`);
        expect(await get(net.outside, url(ip('client'), 8080))).toBe(`client:8080 from ${ip('outside')}`);
        // The listener itself is no destination.
        expect(await get(net.outside, url(ip('node'), 15_001))).toMatch(/refused|reset/);
        expect(await get(net.client, url(ip('node'), 15_006))).toMatch(/refused|reset/);
      }
      const counters = (await agent.tell({ op: 'counters' })) as Record<string, number>;
      expect(counters['capturedOutbound']).toBeGreaterThan(0);
      expect(counters['capturedInbound']).toBeGreaterThan(0);
      expect(counters['hostProbes']).toBeGreaterThan(0);
      expect(counters['hostRefused']).toBeGreaterThan(0);
      const loops = ((await agent.tell({ op: 'events' })) as { type: string; reason?: string }[]).filter(
        ({ reason }) => reason === 'loop',
      );
      expect(loops).toHaveLength(4);

      await agent.kill();
      // Refused, never passed. iptables' TPROXY drops where it has no listener, so there the client waits in vain.
      const refusal = backend === 'iptables' && mode === 'tproxy' ? 'timeout' : 'refused';
      const dead = await Promise.all(
        ([4, 6] as const).flatMap((family) => [
          get(net.client, url(address.service[family], 80)),
          get(net.client, url(address.server[family], 8080)),
          get(net.client, url(address.remote[family], 80)),
          get(net.outside, url(address.server[family], 8080)),
        ]),
      );
      expect(dead).toEqual(Array(8).fill(refusal));
      // Not enrolled: not concerned.
      expect(await get(net.outside, url(address.client[4], 8080))).toContain('client:8080');

      // A new agent serves with the rules that are there, and takes everything away in the end.
      const next = await Agent.start(net.node);
      await next.tell({ op: 'listen' });
      expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
      await next.tell({ op: 'create', options: { backend, mode } });
      await next.tell({ op: 'clear' });
      expect((await net.node.exec('nft', ['list', 'tables'])).stdout).not.toContain('meshwright');
      const saved = await Promise.all(
        ['iptables-save', 'ip6tables-save', 'iptables-legacy-save'].map((command) => net.node.exec(command)),
      );
      expect(saved.map(({ stdout }) => stdout).join('')).not.toContain('NOVAEDGE');
      expect(await net.node.ip('rule')).not.toContain('fwmark');
      expect(await net.node.ip('-6', 'rule')).not.toContain('fwmark');
      if (layout === 'routed') expect(await get(net.client, url(address.service[4], 80))).toContain('server:8080');
    },
  );
});
