/** `--keep`: the mesh stays up, with the commands to play with it. */
import { DemoMesh } from './mesh.js';
import { clusterUrl, vip } from './topology.js';

/** The commands, each ready to be pasted into another terminal of the same user. */
async function commands(
  mesh: DemoMesh,
  userNamespace: boolean,
): Promise<readonly (readonly [string, readonly string[]])[]> {
  const pid = String(process.pid);
  const enter = userNamespace ? `nsenter --preserve-credentials --user --mount --net --target ${pid} ` : '';
  const inside = (name: string): string => `${enter}ip netns exec ${name}`;
  const { fabric } = mesh;
  const agent = `node ${DemoMesh.programOf('reference-agent')}`;
  const post = `-X POST ${clusterUrl('payment-service', '/api/v1/charges')}`;
  return [
    [
      'Ask as a pod',
      [
        `${inside(fabric.pod('web-frontend').name)} curl -si ${clusterUrl('backend-api', '/api')}`,
        `${inside(fabric.pod('rogue-client').name)} curl -si ${clusterUrl('backend-api', '/api')}`,
        `${inside(fabric.pod('order-processor').name)} curl -si ${post}`,
      ],
    ],
    [
      'Ask the agents',
      [
        `${agent} mesh status --admin ${mesh.adminOf('node-a')}`,
        `${agent} mesh vips --admin ${mesh.adminOf('node-a')}`,
        `${agent} mesh tunnels --admin ${mesh.adminOf('node-a')}`,
        `${inside(fabric.node('node-a').name)} curl -s http://127.0.0.1:9090/metrics | grep ^novaedge_mesh`,
      ],
    ],
    [
      'Look at the rules',
      await Promise.all(
        // node-a ends the checks under iptables, the others are under nftables.
        ['node-a', 'node-b'].map(async (node) => {
          const { interception } = (await mesh.status(node)) as { interception: { inspectCommand: string } };
          return `${inside(fabric.node(node).name)} ${interception.inspectCommand}`;
        }),
      ),
    ],
    [
      'Ask the virtual IP, from outside the mesh',
      [`${inside(fabric.outsider.name)} curl -si http://${vip.address}/public/hello`],
    ],
    [
      'Take the frontend out of a policy, watch it get 403, and put it back',
      [
        `sed -i 's/- frontend/- nobody/' ${mesh.manifests}/policies/backend-api-allow-frontend.yaml`,
        `sed -i 's/- nobody/- frontend/' ${mesh.manifests}/policies/backend-api-allow-frontend.yaml`,
      ],
    ],
    ['Tear it down: Ctrl-C here, or from another terminal', [`kill ${pid}`]],
  ];
}

/** Prints the commands and stays until a signal ends the process. */
export async function keepUp(mesh: DemoMesh, say: (line: string) => void, userNamespace: boolean): Promise<never> {
  say('\nThe mesh is up.');
  for (const [title, lines] of await commands(mesh, userNamespace))
    say(`\n${title}:\n${lines.map((line) => `  ${line}`).join('\n')}`);
  // Something must keep the process alive while it waits.
  return new Promise(() => void setInterval(() => undefined, 60_000));
}
