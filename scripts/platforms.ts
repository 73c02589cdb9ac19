/**
 * Runs the tests' consumer (attention, its gradients, decoding) on what is built, in several Nodes, Bun, Deno and the machine's
 * browsers, and writes what each has into docs/platforms.md: npx node scripts/platforms.ts
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Agreement } from '../test/consumer/agreement';
import { launchFirefox } from '../test/firefox.ts';
import {
  agreementInFirefox,
  agreementInPage,
  bundlePage,
  ISOLATION,
  launchChromium,
  writeConsumer,
} from '../test/page.ts';

/** The releases that are maintained, and the oldest that the package's `engines` take. */
const NODES = ['20', '22', '24'];
const LARGEST_ERROR = 1e-5;

type Check = (options: { backend?: 'webgpu' }) => Promise<Agreement>;

const root = resolve(import.meta.dirname, '..');
const project = await mkdtemp(join(tmpdir(), 'saccade-platforms-'));
const outDir = join(project, 'dist');
await mkdir(join(project, 'node_modules'));
await symlink(root, join(project, 'node_modules/saccade'));
await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
await writeConsumer(project);
await bundlePage(project, outDir);

const rows: string[][] = [];
for (const release of NODES) {
  const node = async (...args: string[]) =>
    (
      await promisify(execFile)('npx', ['--yes', '-p', `node@${release}`, 'node', ...args], { cwd: project })
    ).stdout.trim();
  const version = (await node('--version')).slice(1);
  await addRow('Node', version, async (options) => JSON.parse(await node('main.js', JSON.stringify(options))));
}
for (const [where, ...run] of [['Bun'], ['Deno', 'run', '--allow-all']] as const) {
  const name = where.toLowerCase();
  const program = async (...args: string[]) =>
    (await promisify(execFile)('npx', ['--yes', '-p', name, name, ...args], { cwd: project })).stdout.trim();
  const version = /\d[\d.]*/.exec(await program('--version'))?.[0] as string;
  await addRow(
    where,
    version,
    async (options) => JSON.parse(await program(...run, 'main.js', JSON.stringify(options))),
    false,
  );
}
const chromium = await launchChromium();
await addRow('Chromium', chromium.version(), async (options) => {
  return (await agreementInPage(chromium, outDir, ISOLATION, options)).report;
});
await chromium.close();
const firefox = await launchFirefox();
await addRow('Firefox', firefox.version, async (options) => {
  return (await agreementInFirefox(firefox, outDir, ISOLATION, options)).report;
});
await firefox.close();
await rm(project, { recursive: true, force: true });

const head = ['where', 'version', 'threads', 'kernels', 'WebGPU'];
const widths = head.map((_, at) => Math.max(...[head, ...rows].map((row) => (row[at] as string).length)));
const line = (cells: readonly string[]) =>
  `| ${cells.map((cell, at) => cell.padEnd(widths[at] as number)).join(' | ')} |`;
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
const text = `# Where it runs

Saccade ${version} on ${process.platform} ${process.arch}, ${new Date().toISOString().slice(0, 10)}. Each ran one program, in browsers as a page bundled by Vite, in a window without a screen: attention under several masks, its gradients and decoding from a cache, on the CPU and on the GPU, agree with the float64 reference, and no memory stays allocated. Pages are cross-origin isolated; others compute on one thread.

${[head, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('\n')}

In Node, WebGPU is that of the package \`webgpu\`; in Chromium on Linux it wants \`--enable-unsafe-webgpu\`, in Firefox \`dom.webgpu.enabled\`. The machine has two cores and no GPU: adapters compute in software. By \`npx node scripts/platforms.ts\`. Other systems, Safari and telephones were not tested; where WebAssembly has SIMD, the library is meant to run.
`;
await writeFile(join(root, 'docs/platforms.md'), text);
console.log(text);

async function addRow(where: string, version: string, check: Check, hasGpu = true): Promise<void> {
  const said = async (options: Parameters<Check>[0]) => {
    const { worst, leaked, explain } = await check(options);
    if (!(worst < LARGEST_ERROR) || leaked > 0) throw new Error(`${where} is ${worst} off and keeps ${leaked} bytes`);
    return (name: string) => new RegExp(`^${name}: ([^,(\n]*)`, 'm').exec(explain)?.[1]?.trim() as string;
  };
  const onCpu = await said({});
  const subgroups = hasGpu ? (await said({ backend: 'webgpu' }))('subgroups') : undefined;
  const gpu = /^(this|not)/.test(subgroups ?? '') ? 'without subgroups' : subgroups ? 'with subgroups' : 'not tested';
  rows.push([where, version, onCpu('threads'), onCpu('kernels'), gpu]);
}
