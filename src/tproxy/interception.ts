import { CoreError, describeError, noObserver, notify, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Closable, Logger, Observer } from '../core/index.js';
import { forgetConnections } from './conntrack.js';
import type { TproxyEvent } from './events.js';
import { normalPlan } from './interception-plan.js';
import type {
  ApplyResult,
  InterceptionDescription,
  InterceptionOptions,
  VerifyResult,
} from './interception-options.js';
import type { InterceptionPlan, NormalPlan } from './interception-plan.js';
import { chooseMode, bridgeNetfilterIsOn } from './interception-mode.js';
import { resolveMarks } from './marks.js';
import type { InterceptionMarks } from './marks.js';
import { listInterfaces } from './network-interfaces.js';
import { PolicyRoute } from './policy-route.js';
import { openBackend } from './open-backend.js';
import type { OpenedBackend } from './open-backend.js';
import { destinationKey } from './rule-backend.js';
import type { InterceptionCounters, RuleInput } from './rule-backend.js';
import { runCommand } from './run-command.js';
import type { RunCommand } from './run-command.js';
import { topologyOf } from './topology.js';
import type { Topology } from './topology.js';

interface Applied {
  readonly input: RuleInput;
  readonly state: readonly string[];
}

/**
 * Owns the kernel rules that steer a node's traffic to its agent.
 *
 * ```ts
 * const interception = await Interception.create({ backend: 'auto' });
 * await interception.apply(plan);            // replaces the previous plan, all or nothing
 * const { ok, problems } = await interception.verify();
 * await interception.close();                // by failurePolicy the rules stay (traffic is refused) or go
 * ```
 *
 * Captured are new TCP connections of the plan's pods to `outbound` and of everybody else to `inbound`; IPv4 and IPv6; also
 * where kube-proxy translates the same addresses. While no listener is there they are refused, not passed. Not captured, but
 * refused: connections of this host to `inbound` by `host`, and connections translated to `inbound` elsewhere.
 *
 * `apply`, `verify` and `clear` may be called at any time; they take turns.
 */
export class Interception implements Closable {
  readonly #options: InterceptionOptions;
  readonly #marks: InterceptionMarks;
  readonly #route: PolicyRoute;
  readonly #opened: OpenedBackend;
  readonly #logger: Logger;
  readonly #observer: Observer<TproxyEvent>;
  readonly #clock: Clock;
  #applied: Applied | undefined;
  #kernelHasTproxy: Promise<boolean> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  private constructor(options: InterceptionOptions, marks: InterceptionMarks, run: RunCommand, opened: OpenedBackend) {
    this.#options = options;
    this.#marks = marks;
    this.#opened = opened;
    this.#route = new PolicyRoute(run, marks.intercept, options.routeTable ?? 15_001);
    this.#logger = options.logger ?? silentLogger;
    this.#observer = options.observer ?? noObserver;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Finds out what works here; changes nothing. Throws `TPROXY_BACKEND_UNAVAILABLE`, `TPROXY_CAPABILITY_MISSING`,
   * `CORE_OPTION_INVALID`.
   */
  static async create(options: InterceptionOptions = {}): Promise<Interception> {
    const marks = resolveMarks(options.marks);
    const { outboundPort = 15_001, inboundPort = 15_006, routeTable = 15_001 } = options;
    for (const [name, value, most] of [
      ['outboundPort', outboundPort, 65_535],
      ['inboundPort', inboundPort, 65_535],
      ['routeTable', routeTable, 0xffffffff],
    ] as const) {
      if (!Number.isInteger(value) || value < 1 || value > most) {
        throw new CoreError(
          'CORE_OPTION_INVALID',
          `${name}: expected an integer from 1 to ${String(most)}, got ${String(value)}`,
        );
      }
    }
    if (outboundPort === inboundPort)
      throw new CoreError('CORE_OPTION_INVALID', 'outboundPort and inboundPort: expected different ports');
    const run = options.run ?? runCommand;
    return new Interception(options, marks, run, await openBackend(options.backend ?? 'auto', run));
  }

  /**
   * Puts a plan in place of the previous one, all or nothing; connections that are captured already go on. Throws
   * `TPROXY_PLAN_INVALID`, `TPROXY_APPLY_FAILED`, `TPROXY_MODE_UNAVAILABLE`, `TPROXY_BACKEND_CONFLICT`,
   * `TPROXY_PINNING_UNAVAILABLE`; the previous rules then stay.
   */
  apply(plan: InterceptionPlan): Promise<ApplyResult> {
    const normal = normalPlan(plan);
    return this.#inTurn(async () => {
      this.#refuseClosed();
      const startedMs = this.#clock.monotonicMs();
      try {
        const result = await this.#apply(normal);
        const durationMs = this.#clock.monotonicMs() - startedMs;
        notify(this.#observer, {
          type: 'tproxy.rules-applied',
          backend: this.#opened.backend.name,
          mode: result.mode,
          durationMs,
        });
        return result;
      } catch (error) {
        notify(this.#observer, {
          type: 'tproxy.rules-failed',
          backend: this.#opened.backend.name,
          error: describeError(error),
        });
        throw error;
      }
    });
  }

  /** Compares the kernel with the last plan. Applying that plan again repairs what differs. */
  verify(): Promise<VerifyResult> {
    return this.#inTurn(async () => {
      const applied = this.#applied;
      if (applied === undefined) return { ok: false, problems: ['no plan was applied by this process'] };
      const problems = [...differences(applied.state, await this.#opened.backend.state())];
      if (applied.input.mode === 'tproxy') problems.push(...(await this.#route.problems(usesIpv6(applied.input.plan))));
      problems.push(...interfaceProblems(applied.input, await this.#topology(applied.input.plan)));
      if (problems.length > 0) {
        // What was applied is no longer there to be built upon.
        this.#opened.backend.forget();
        notify(this.#observer, { type: 'tproxy.rules-drifted', problems });
      }
      return { ok: problems.length === 0, problems };
    });
  }

  /** Removes every rule, table, chain and route of ours, of either backend, whoever applied it; touches nothing else. */
  clear(): Promise<void> {
    return this.#inTurn(() => this.#clear());
  }

  describe(): InterceptionDescription {
    const input = this.#applied?.input;
    return Object.freeze({
      backend: this.#opened.backend.name,
      mode: input?.mode,
      counts: {
        pods: input?.topology.pods.length ?? 0,
        outbound: input?.plan.outbound.length ?? 0,
        inbound: input?.plan.inbound.length ?? 0,
        probes: input?.plan.probes.length ?? 0,
      },
      missingInterfaces: input?.topology.missing ?? [],
      inspectCommand: this.#opened.backend.inspectCommand,
      failurePolicy: this.#options.failurePolicy ?? 'closed',
      outboundPort: this.#options.outboundPort ?? 15_001,
      inboundPort: this.#options.inboundPort ?? 15_006,
    });
  }

  /** Packet counts of the rules in place. */
  counters(): Promise<InterceptionCounters> {
    return this.#inTurn(() => this.#opened.backend.counters());
  }

  /** Keeps or removes the rules, by `failurePolicy`. */
  close(): Promise<void> {
    this.#closing ??= this.#inTurn(async () => {
      if (this.#options.failurePolicy === 'open') await this.#clear();
    });
    return this.#closing;
  }

  /** Leaves the kernel as it is, whatever the policy: there is nothing that could be done at once. */
  destroy(): void {
    this.#closing ??= this.#turn.then(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #apply(plan: NormalPlan): Promise<ApplyResult> {
    const { backend, removeOther } = this.#opened;
    const previous = this.#applied;
    const captured = previous === undefined ? await backend.captured() : capturedBy(previous.input.plan);
    // An update of differences must not build upon, and then take for right, what somebody else has changed.
    if (previous !== undefined && differences(previous.state, await backend.state()).length > 0) backend.forget();
    const input = await this.#applyToMachine(plan);
    const { mode, topology } = input;
    this.#applied = { input, state: await backend.state() };
    if (mode === 'redirect') await this.#route.remove();
    if (previous === undefined) await removeOther();
    const forgottenConnections = await this.#forget(captured, plan);
    this.#logger.info('interception rules applied', {
      backend: backend.name,
      mode,
      forgottenConnections,
      ...this.describe().counts,
    });
    return { mode, missingInterfaces: topology.missing, forgottenConnections };
  }

  async #applyToMachine(plan: NormalPlan): Promise<RuleInput> {
    const { backend } = this.#opened;
    const input = await this.#inputFor(plan);
    if (input.topology.missing.length > 0) {
      this.#logger.warn('interfaces of pods are missing', { interfaces: input.topology.missing });
    }
    // The route first: a captured packet without it would be forwarded.
    if (input.mode === 'tproxy') await this.#route.ensure(usesIpv6(plan));
    try {
      await backend.apply(input);
      return input;
    } catch (error) {
      // An interface may have gone between looking and applying.
      const second = await this.#inputFor(plan);
      if (interfaceProblems(input, second.topology).length === 0) throw error;
      await backend.apply(second);
      return second;
    }
  }

  async #inputFor(plan: NormalPlan): Promise<RuleInput> {
    const topology = await this.#topology(plan);
    const mode = await chooseMode({
      wanted: this.#options.mode ?? 'auto',
      topology,
      bridgeNetfilterIsOn,
      kernelHasTproxy: () => (this.#kernelHasTproxy ??= this.#opened.backend.supportsTproxy()),
    });
    return Object.freeze({
      plan,
      topology,
      mode,
      marks: this.#marks,
      outboundPort: this.#options.outboundPort ?? 15_001,
      inboundPort: this.#options.inboundPort ?? 15_006,
    });
  }

  async #forget(captured: ReadonlySet<string>, plan: NormalPlan): Promise<number> {
    const added = destinationsOf(plan).filter((destination) => !captured.has(destinationKey(destination)));
    if (this.#options.run !== undefined) return 0;
    try {
      return await forgetConnections(added);
    } catch (error) {
      // No connection tracking in this namespace: then there is nothing to forget either.
      this.#logger.debug('conntrack could not be read', { error: describeError(error) });
      return 0;
    }
  }

  async #clear(): Promise<void> {
    await this.#opened.backend.clear();
    await this.#opened.removeOther();
    await this.#route.remove();
    this.#applied = undefined;
  }

  async #topology(plan: NormalPlan): Promise<Topology> {
    return topologyOf(plan, await (this.#options.interfaces ?? listInterfaces)());
  }

  #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(action);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new CoreError('CORE_CLOSED', 'this interception is closed');
  }
}

function destinationsOf(plan: NormalPlan): readonly { readonly ip: string; readonly port?: number }[] {
  return [...plan.outbound, ...plan.inbound.map((ip) => ({ ip }))];
}

function capturedBy(plan: NormalPlan): ReadonlySet<string> {
  return new Set(destinationsOf(plan).map(destinationKey));
}

function usesIpv6(plan: NormalPlan): boolean {
  return [...plan.outbound.map(({ ip }) => ip), ...plan.inbound].some((ip) => ip.includes(':'));
}

function differences(expected: readonly string[], actual: readonly string[]): string[] {
  const have = new Set(actual);
  const want = new Set(expected);
  const missing = expected.filter((line) => !have.has(line)).map((line) => `missing: ${line}`);
  const extra = actual.filter((line) => !want.has(line)).map((line) => `unexpected: ${line}`);
  const found = [...missing, ...extra];
  if (found.length === 0 && expected.join('\n') !== actual.join('\n')) return ['the rules are in another order'];
  return found;
}

function interfaceProblems(input: RuleInput, now: Topology): string[] {
  const describe = (topology: Topology): string => JSON.stringify([topology.pods, [...topology.missing].sort()]);
  if (describe(input.topology) === describe(now)) return [];
  return ['the interfaces of the plan are not those that the rules were made for'];
}
