import type { Command } from 'commander';

/** The subcommands of `meshwright`, in the order in which help lists them. Each makes a fresh command per run. */
export const commands: readonly (() => Command)[] = [];
