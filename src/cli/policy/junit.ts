import type { TestFileRun } from './test.js';

/** JUnit's XML: one suite for each file, one case for each test. */
export function junitXml(runs: readonly TestFileRun[]): string {
  const suites = runs.map(({ file, results }) => {
    const cases = results.map(({ test, ok, message }) => {
      const open = `    <testcase classname="${xml(file)}" name="${xml(test.name)}"`;
      return ok ? `${open}/>` : `${open}>\n      <failure message="${xml(message ?? '')}"/>\n    </testcase>`;
    });
    const failures = results.filter((result) => !result.ok).length;
    const head = `  <testsuite name="${xml(file)}" tests="${String(results.length)}" failures="${String(failures)}">`;
    return [head, ...cases, '  </testsuite>'].join('\n');
  });
  return ['<?xml version="1.0" encoding="UTF-8"?>', '<testsuites>', ...suites, '</testsuites>', ''].join('\n');
}

/** Escapes text for XML and HTML, and drops what XML 1.0 cannot carry. */
export function xml(text: string): string {
  return text
    .replace(/[^\t\n\r\x20-\ud7ff\ue000-\uffff]/g, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
