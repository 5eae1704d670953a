/** `meshwright policy matrix FILE`: who can reach what, as a table, JSON or an SVG picture. */
import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import { readPolicyTests } from '../../authz/index.js';
import type { AuthzEngine, TestMesh } from '../../authz/index.js';
import { readRequest } from '../../authz/index.js';
import { readDocuments, readPolicies } from './files.js';
import { xml } from './junit.js';
import { lintedEngine } from './linted-engine.js';

export type Reach = 'allow' | 'deny' | 'needs-http';

export interface Matrix {
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  /** By source, then destination. */
  readonly cells: readonly (readonly Reach[])[];
}

const symbols: Readonly<Record<Reach, string>> = { allow: 'yes', deny: '-', 'needs-http': 'http' };

export function matrixCommand(): Command {
  return new Command('matrix')
    .description('who can reach what: every workload of a test file against every service of it')
    .argument('<file>', 'a policy test file with mesh.workloads and mesh.services')
    .option('--json', 'print one JSON object')
    .option('--svg', 'print an SVG picture')
    .action((file: string, flags: { readonly json?: true; readonly svg?: true }) => {
      const [document] = readDocuments(file);
      const { policies, mesh } = readPolicyTests(document?.manifest);
      const folder = dirname(file);
      const engine = lintedEngine(
        readPolicies(policies === undefined ? [folder] : policies.map((path) => resolve(folder, path))),
        mesh.options,
      );
      const matrix = buildMatrix(engine, mesh);
      console.log(
        flags.json === true
          ? JSON.stringify(matrix, undefined, 2)
          : flags.svg === true
            ? matrixSvg(matrix)
            : matrixTable(matrix),
      );
    });
}

/** Plaintext is a source too: it shows what is open to anyone. */
export function buildMatrix(engine: AuthzEngine, mesh: TestMesh): Matrix {
  const workloads = Object.keys(mesh.workloads);
  const destinations = Object.keys(mesh.services);
  const reach = (from: string | undefined, to: string): Reach =>
    engine.authorizeConnection(readRequest(from === undefined ? { to } : { from, to }, 'matrix', mesh).request).verdict;
  return {
    sources: [...workloads, '(plaintext)'],
    destinations,
    cells: [...workloads, undefined].map((from) => destinations.map((to) => reach(from, to))),
  };
}

function matrixTable({ sources, destinations, cells }: Matrix): string {
  const first = Math.max(0, ...sources.map((source) => source.length));
  const rows = [
    ['', ...destinations],
    ...sources.map((source, row) => [source, ...(cells[row] ?? []).map((cell) => symbols[cell])]),
  ];
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(column === 0 ? first : (destinations[column - 1] ?? '').length))
      .join('  ')
      .trimEnd(),
  );
  return [...lines, '', 'yes: allowed  http: depends on the HTTP request  -: denied'].join('\n');
}

function matrixSvg({ sources, destinations, cells }: Matrix): string {
  const colours: Readonly<Record<Reach, string>> = { allow: '#2e9e4f', deny: '#d9d9d9', 'needs-http': '#e8b53a' };
  const left = 200;
  const top = 160;
  const size = 28;
  const parts = destinations.map((name, column) => {
    const x = left + column * size + size / 2;
    return `<text transform="translate(${String(x)} ${String(top - 8)}) rotate(-60)">${xml(name)}</text>`;
  });
  sources.forEach((source, row) => {
    const y = top + row * size;
    parts.push(`<text x="${String(left - 8)}" y="${String(y + size / 2 + 4)}" text-anchor="end">${xml(source)}</text>`);
    destinations.forEach((destination, column) => {
      const reach = cells[row]?.[column] ?? 'deny';
      parts.push(
        `<rect x="${String(left + column * size)}" y="${String(y)}" width="${String(size - 3)}" height="${String(size - 3)}" fill="${colours[reach]}">` +
          `<title>${xml(`${source} -> ${destination}: ${reach}`)}</title></rect>`,
      );
    });
  });
  const width = left + destinations.length * size + 100;
  const height = top + sources.length * size + 20;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${String(width)}" height="${String(height)}" font-family="sans-serif" font-size="12">${parts.join('')}</svg>`;
}
