import { describe, expect, it } from 'vitest';
import { describeRequiring, missingRequirement, testRequiring } from './requirements.js';

describe('missingRequirement', () => {
  it('finds a command that every machine has', () => {
    expect(missingRequirement({ commands: ['sh'] })).toBeUndefined();
  });

  it('names every command that is missing', () => {
    expect(missingRequirement({ commands: ['sh', 'no-such-command-a', 'no-such-command-b'] })).toBe(
      'needs the command no-such-command-a, the command no-such-command-b',
    );
  });

  it('asks for root exactly when this process is not root', () => {
    expect(missingRequirement({ root: true })).toBe(process.getuid?.() === 0 ? undefined : 'needs root');
  });
});

describeRequiring({ commands: ['sh'] }, 'describeRequiring', () => {
  it('runs its body where nothing is missing', () => {
    expect(true).toBe(true);
  });
});

testRequiring({ commands: ['sh'] }, 'testRequiring runs its body where nothing is missing', () => {
  expect(true).toBe(true);
});
