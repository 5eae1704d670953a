/** What an eavesdropper sees between the nodes, and on a pod's own link. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NetNamespace } from 'meshwright/testing';
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import type { DemoMesh } from '../mesh.js';
import { controllerPort, podNamed } from '../topology.js';

export async function checkWire(mesh: DemoMesh, list: Checklist): Promise<void> {
  const marker = `marker-${Math.random().toString(36).slice(2)}-in-the-clear`;
  const between = await capture(
    mesh.fabric.switch,
    mesh.fabric.switchPort('node-b'),
    join(mesh.directory, 'wire.pcap'),
  );
  const atPod = await capture(
    mesh.fabric.node('node-b'),
    mesh.fabric.hostInterface('backend-api-1'),
    join(mesh.directory, 'pod.pcap'),
  );
  const url = `http://${podNamed('backend-api-1').address}:8080/api/${marker}`;
  const result = await curl(mesh.fabric.pod('web-frontend'), url, { args: ['--header', `x-marker: ${marker}`] });
  list.equal('a request and response with a marker', '200', outcome(result), 'frontend -> backend-api-1');
  const wire = await between.stop();
  const pod = await atPod.stop();
  list.equal(
    'the marker on the link between the nodes',
    0,
    count(wire, marker),
    `${String(wire.length)} bytes captured`,
  );
  list.equal("the marker on the pod's own link", true, count(pod, marker) > 0, `${String(count(pod, marker))} times`);
  const { stdout } = await mesh.fabric.switch.exec('tcpdump', [
    '-nn',
    '-r',
    join(mesh.directory, 'wire.pcap'),
    `tcp and not port 15002 and not port ${String(controllerPort)}`,
  ]);
  const others = stdout.split('\n').filter((line) => line !== '').length;
  list.equal('TCP packets between the nodes outside the tunnel', 0, others, 'tunnel :15002, control plane :15010');
}

interface Capture {
  stop(): Promise<Buffer>;
}

async function capture(space: NetNamespace, device: string, file: string): Promise<Capture> {
  const child = space.spawn('tcpdump', ['-i', device, '-s', '0', '-U', '--immediate-mode', '-Z', 'root', '-w', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error(`tcpdump on ${device} ended`)));
    child.stderr?.on('data', (text: Buffer) => {
      if (text.includes('listening on')) resolve();
    });
  });
  return {
    async stop() {
      // What is still in the kernel's buffer belongs to the capture.
      await new Promise((resolve) => setTimeout(resolve, 400));
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGINT');
      await ended;
      return readFile(file);
    },
  };
}

function count(haystack: Buffer, needle: string): number {
  return haystack.toString('latin1').split(needle).length - 1;
}
