import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { anchorsOf, markdownFiles, proseOf } from '../support/markdown.js';
import { repositoryRoot } from '../support/repository.js';

const link = /\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g;

describe('links inside the repository', () => {
  it.each(markdownFiles())('of %s lead to files and headings that exist', (file) => {
    const broken: string[] = [];
    for (const [, target = ''] of proseOf(file).matchAll(link)) {
      if (/^[a-z][a-z0-9+.-]*:/i.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const resolved = path === '' ? file : posix.join(posix.dirname(file), path);
      if (!existsSync(join(repositoryRoot, resolved))) broken.push(target);
      else if (anchor !== undefined && resolved.endsWith('.md') && !anchorsOf(resolved).has(anchor))
        broken.push(target);
    }
    expect(broken).toEqual([]);
  });
});
