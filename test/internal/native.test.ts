import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isNativeAddonAvailable, load, nativeAddon } from '../../src/internal/native/addon.js';
import { AF_INET, AF_INET6, POLL_READABLE, SOCK_DGRAM } from '../../src/internal/native/constants.js';
import { isSystemError } from '../../src/internal/native/errors.js';
import {
  NETLINK_ROUTE,
  NLM_F_DUMP,
  NetlinkRequestError,
  NetlinkSocket,
  netlinkAttribute,
  netlinkAttributes,
} from '../../src/internal/native/netlink.js';
import { decodeSockaddr, encodeSockaddr } from '../../src/internal/native/sockaddr.js';
import { describeRequiring } from '../support/requirements.js';

const run = promisify(execFile);

test('without an addon the error names the feature and what to do', () => {
  expect(() => load('a transparent listener', 'darwin', 'arm64')).toThrow(
    expect.objectContaining({
      code: 'NATIVE_PLATFORM_UNSUPPORTED',
      message: expect.stringMatching(/a transparent listener.*Linux only.*darwin/) as string,
    }) as Error,
  );
  expect(() => load('netlink', 'linux', 'riscv64')).toThrow(
    expect.objectContaining({
      code: 'NATIVE_ADDON_MISSING',
      message: expect.stringMatching(/netlink.*linux-riscv64.*npm run build:native/) as string,
    }) as Error,
  );
});

test('the addon of the package is found from src and from any depth of dist, and not outside', () => {
  const root = mkdtempSync(join(tmpdir(), 'meshwright-native-'));
  try {
    mkdirSync(join(root, 'dist', 'deep'), { recursive: true });
    mkdirSync(join(root, 'prebuilds', 'linux-none'), { recursive: true });
    writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'meshwright' }));
    writeFileSync(join(root, 'prebuilds', 'linux-none', 'meshwright.node'), 'not an object file');
    const problem = (from: string): unknown => {
      try {
        return load('x', 'linux', 'none', pathToFileURL(from).href);
      } catch (error) {
        return (error as { fields: { path?: string } }).fields.path;
      }
    };
    const expected = join(root, 'prebuilds', 'linux-none', 'meshwright.node');
    expect(problem(join(root, 'dist', 'chunk.js'))).toBe(expected);
    expect(problem(join(root, 'dist', 'deep', 'index.js'))).toBe(expected);
    expect(problem(join(tmpdir(), 'bundle.js'))).toBeUndefined();
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('a sockaddr survives encoding and decoding, IPv4 and IPv6', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 65_535 }), (ip, port) => {
      const encoded = encodeSockaddr(ip, port);
      const decoded = decodeSockaddr(encoded);
      expect(decoded?.port).toBe(port);
      expect(decoded === undefined ? undefined : encodeSockaddr(decoded.ip, port, ip.includes(':') ? 6 : 4)).toEqual(
        encoded,
      );
    }),
  );
  expect(decodeSockaddr(encodeSockaddr('10.0.0.1', 80, 6))).toEqual({ ip: '10.0.0.1', port: 80 });
  expect(decodeSockaddr(Buffer.alloc(3))).toBeUndefined();
  expect(decodeSockaddr(Buffer.alloc(28))).toBeUndefined();
});

test('netlink attributes are read back, and garbage ends the reading', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 200 }), fc.uint8Array({ maxLength: 40 })), {
        selector: ([type]) => type,
      }),
      (entries) => {
        const encoded = Buffer.concat(entries.map(([type, value]) => netlinkAttribute(type, value)));
        expect([...netlinkAttributes(encoded, 0)].map(([type, value]) => [type, new Uint8Array(value)])).toEqual(
          entries,
        );
      },
    ),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void netlinkAttributes(Buffer.from(bytes), 0)));
});

describeRequiring({ native: true }, 'the native addon', () => {
  const addon = (): ReturnType<typeof nativeAddon> => nativeAddon('a test');

  test('throws system errors as node does, and TypeErrors for wrong arguments', () => {
    expect(isNativeAddonAvailable()).toBe(true);
    const failure = (action: () => void): unknown => {
      try {
        action();
      } catch (error) {
        return error;
      }
      return undefined;
    };
    const error = failure(() => addon().bind(1_000_000, encodeSockaddr('127.0.0.1', 0)));
    expect(error).toMatchObject({ code: 'EBADF', errno: -9, syscall: 'bind' });
    expect(isSystemError(error, 'EBADF')).toBe(true);
    expect(isSystemError(new Error('x'))).toBe(false);
    const untyped = addon() as unknown as Record<string, (...args: unknown[]) => unknown>;
    for (const name of Object.keys(untyped)) {
      expect(() => untyped[name]?.(), name).toThrow(TypeError);
      expect(() => untyped[name]?.('x', {}, null, Symbol('x')), name).toThrow(TypeError);
    }
    expect(() => untyped['pollClose']?.({})).toThrow(TypeError);
  });

  test.each([AF_INET, AF_INET6])('carries a datagram with its sender (family %i)', (family) => {
    const ip = family === AF_INET ? '127.0.0.1' : '::1';
    const receiver = addon().socket(family, SOCK_DGRAM, 0);
    const sender = addon().socket(family, SOCK_DGRAM, 0);
    try {
      addon().bind(receiver, encodeSockaddr(ip, 0));
      addon().bind(sender, encodeSockaddr(ip, 0));
      const buffer = Buffer.alloc(4);
      expect(addon().recvmsg(receiver, buffer)).toBeUndefined();
      expect(addon().sendto(sender, Buffer.from('hello'), addon().getsockname(receiver))).toBe(5);
      const message = addon().recvmsg(receiver, buffer);
      expect(message).toMatchObject({ length: 4, truncated: true });
      expect(message === undefined ? undefined : decodeSockaddr(message.address)).toEqual(
        decodeSockaddr(addon().getsockname(sender)),
      );
      expect(buffer.toString()).toBe('hell');
      // ret 0: this filter lets nothing through.
      addon().attachFilter(receiver, Buffer.from([6, 0, 0, 0, 0, 0, 0, 0]));
      addon().sendto(sender, Buffer.from('lost'), addon().getsockname(receiver));
      expect(addon().recvmsg(receiver, buffer)).toBeUndefined();
      expect(() => addon().attachFilter(receiver, Buffer.alloc(7))).toThrow(TypeError);
    } finally {
      addon().close(receiver);
      addon().close(sender);
    }
  });

  test('netlink answers requests and dumps, and refuses with the errno of the kernel', async () => {
    using socket = new NetlinkSocket({ protocol: NETLINK_ROUTE, feature: 'a test' });
    const links = await socket.request(18 /* RTM_GETLINK */, NLM_F_DUMP, Buffer.alloc(16));
    expect(links.length).toBeGreaterThan(0);
    const noSuchInterface = Buffer.alloc(16);
    noSuchInterface.writeInt32LE(0x7fff_ffff, 4);
    await expect(socket.request(18, 0, noSuchInterface)).rejects.toEqual(new NetlinkRequestError(-19));
    socket.close();
    socket.close();
    await expect(socket.request(18, 0, Buffer.alloc(16))).rejects.toThrow('closed');
  });

  test('a poll outlives the errors of its socket', async () => {
    const receiver = addon().socket(AF_INET, SOCK_DGRAM, 0);
    const sender = addon().socket(AF_INET, SOCK_DGRAM, 0);
    addon().bind(receiver, encodeSockaddr('127.0.0.1', 0));
    addon().connect(sender, addon().getsockname(receiver));
    addon().close(receiver);
    const statuses: number[] = [];
    const poll = addon().poll(sender, POLL_READABLE, (status) => {
      statuses.push(status);
      try {
        addon().recvmsg(sender, Buffer.alloc(4));
      } catch (error) {
        expect(error).toMatchObject({ code: 'ECONNREFUSED' });
      }
    });
    try {
      for (const count of [1, 2, 3]) {
        addon().sendto(sender, Buffer.from('nobody listens'));
        await expect.poll(() => statuses.length).toBe(count);
      }
      expect(statuses.every((status) => status < 0)).toBe(true);
    } finally {
      addon().pollClose(poll);
      addon().close(sender);
    }
  });

  test('workers end with polls open, and what a callback throws is an uncaught exception', async () => {
    const script = fileURLToPath(new URL('./native-teardown.mjs', import.meta.url));
    const prebuild = fileURLToPath(new URL(`../../prebuilds/linux-${process.arch}/meshwright.node`, import.meta.url));
    const { stdout } = await run(process.execPath, ['--expose-gc', script, prebuild]);
    expect(JSON.parse(stdout)).toEqual({
      workersEnded: 20,
      uncaught: 'thrown by the callback',
      afterwards: 'still called',
    });
  });
});

describeRequiring({ native: true, root: true }, 'building', () => {
  test('is idempotent and says what is missing', { timeout: 60_000 }, async () => {
    const copy = mkdtempSync(join(tmpdir(), 'meshwright-build-'));
    try {
      const root = fileURLToPath(new URL('../../', import.meta.url));
      for (const name of ['native', 'scripts/build-native.mjs', 'package.json', 'node_modules/node-api-headers']) {
        cpSync(join(root, name), join(copy, name), { recursive: true });
      }
      const build = (env: NodeJS.ProcessEnv = process.env): Promise<{ stdout: string; stderr: string }> =>
        run(process.execPath, [join(copy, 'scripts/build-native.mjs')], { env });
      expect((await build()).stdout).toContain(`built linux-${process.arch}`);
      expect((await build()).stdout).toContain(`linux-${process.arch} is up to date`);
      rmSync(join(copy, 'prebuilds'), { recursive: true });
      await expect(build({ PATH: '/nonexistent' })).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringContaining('apt-get install gcc libc6-dev') as string,
      });
      rmSync(join(copy, 'node_modules'), { recursive: true });
      await expect(build()).rejects.toMatchObject({ stderr: expect.stringContaining('node-api-headers') as string });
    } finally {
      rmSync(copy, { recursive: true });
    }
  });
});
