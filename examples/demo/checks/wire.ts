/** What an eavesdropper sees between the nodes, and on a pod's own link. */
import { join } from 'node:path';
import { capture, packetsOutsideTunnel, tcpPorts } from '../capture.js';
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import type { DemoMesh } from '../mesh.js';
import { controllerPort, podNamed, tunnelPort } from '../topology.js';

export async function checkWire(mesh: DemoMesh, list: Checklist): Promise<void> {
  const marker = `marker-${Math.random().toString(36).slice(2)}-in-the-clear`;
  const { fabric, directory } = mesh;
  const between = await capture(fabric.switch, fabric.switchPort('node-b'), join(directory, 'wire.pcap'));
  const atPod = await capture(
    fabric.node('node-b'),
    fabric.hostInterface('backend-api-1'),
    join(directory, 'pod.pcap'),
  );
  const url = `http://${podNamed('backend-api-1').address}:8080/api/${marker}`;
  const result = await curl(fabric.pod('web-frontend'), url, { args: ['--header', `x-marker: ${marker}`] });
  list.equal('a request and response with a marker', '200', outcome(result), 'frontend -> backend-api-1');
  const [wire, pod] = [await between.stop(), await atPod.stop()];
  const markers = (frames: readonly Buffer[]): number =>
    Buffer.concat(frames).toString('latin1').split(marker).length - 1;
  const inTunnel = wire.filter((frame) => tcpPorts(frame)?.includes(tunnelPort) === true).length;
  list.record({
    name: 'the marker on the link between the nodes',
    expected: '0 times',
    actual: `${String(markers(wire))} times`,
    ok: markers(wire) === 0 && inTunnel > 0,
    detail: `${String(inTunnel)} packets of the tunnel captured`,
  });
  list.record({
    name: "the marker on the pod's own link",
    expected: 'both ways',
    actual: `${String(markers(pod))} times`,
    ok: markers(pod) >= 2,
    detail: 'the same capture, beside the pod',
  });
  list.equal(
    'TCP packets between the nodes outside the tunnel',
    0,
    packetsOutsideTunnel(wire).length,
    `tunnel :${String(tunnelPort)}, control plane :${String(controllerPort)}`,
  );
}
