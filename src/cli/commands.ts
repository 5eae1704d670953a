import type { Command } from 'commander';
import { policyCommand } from './policy/index.js';

/** The subcommands of `meshwright`, in the order in which help lists them. Each makes a fresh command per run. */
export const commands: readonly (() => Command)[] = [policyCommand];
