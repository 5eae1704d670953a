import type { Command } from 'commander';
import { caCommand } from './ca/index.js';
import { policyCommand } from './policy/index.js';
import { svidCommand } from './svid/index.js';

/** The subcommands of `meshwright`, in the order in which help lists them. Each makes a fresh command per run. */
export const commands: readonly (() => Command)[] = [policyCommand, caCommand, svidCommand];
