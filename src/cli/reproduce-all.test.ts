/** The quick run of every experiment. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { saccade } from '../../test/command-line';
import { measured } from '../experiments';

/**
 * What quick runs find, of the papers listed: what is counted holds whatever the machine and its load, on small sizes not always what the whole
 * run finds; times are not judged.
 */
const [yes, no, partly] = ['reproduced', 'not reproduced', 'partly'];
const [identity, untested, undecided] = ['holds by construction', 'not tested here', 'undecided'];
const QUICK: Readonly<Record<string, readonly string[]>> = {
  'faster-neighborhood-attention': [identity, untested, untested, no],
  'generalized-neighborhood-attention': [partly, untested, untested, untested, untested, partly],
  's2-attention': [identity, identity, identity, identity, untested],
  'power-attention': [identity, partly, untested, identity, identity, partly, untested, untested],
  'stochastic-attention': [yes, partly, partly, partly, untested],
  'lightning-attention': [untested, yes, untested],
  'gated-delta-networks': [yes, yes, identity, untested, untested],
  'nats-linear': [yes, yes, no, no, untested],
  'more-is-better': [yes, no, yes, yes, yes, untested],
  snnk: [partly, yes, yes, partly, partly, yes],
  performer: [partly, no, no, partly, partly, untested],
  'c3d-ad': [no, no, no, undecided, undecided, undecided, yes, untested],
  transnormer: [identity, yes, no, yes, yes, untested, partly],
  l2vit: [yes, yes, identity],
  van: [identity, identity, identity],
  bevanet: [partly, identity],
  unireplknet: [identity, identity],
  'scaling-up-your-kernels': [yes, untested, yes],
  dydila: [yes, yes, partly, yes, undecided, undecided, undecided, undecided, untested],
  parallax: [yes, yes, yes, yes, identity, untested, untested],
  'local-linear-attention': [yes, yes, identity, untested],
  sale: [yes, yes, partly, untested, untested],
  deltallm: [partly, yes, yes, partly, untested],
  sea: [identity, no, yes, untested, untested, untested],
  'sd-rpn': [no, no, yes, yes],
};

test.each(measured.map(({ id }) => id))('%s: every claim has a source, a measurement and a verdict', async (name) => {
  const folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  const [json, html] = [join(folder, 'findings.json'), join(folder, 'findings.html')];
  try {
    const { code, stdout } = await saccade('reproduce', name, '--quick', '--json', json, '--html', html);
    expect(code).toBe(0);
    expect(stdout).toMatch(/claim +measured +verdict/);
    expect(stdout).toContain('--quick');
    expect(await readFile(html, 'utf8')).toContain(`<title>saccade reproduce ${name}</title>`);
    const report = JSON.parse(await readFile(json, 'utf8'));
    expect(report).toMatchObject({
      format: 'saccade reproduce',
      command: `saccade reproduce ${name} --quick`,
      paper: { id: name },
      quick: true,
      machine: { saccade: expect.any(String) },
    });
    for (const { claim, source, measured } of report.findings) {
      for (const text of [claim, source, measured]) expect(text).not.toBe('');
    }
    const verdicts = report.findings.map(({ verdict }: { verdict: string }) => verdict);
    expect(verdicts).toEqual(QUICK[name] ?? verdicts);
    for (const { series = [] } of report.findings) {
      for (const { x, lines } of series) {
        for (const { values } of lines) expect(values).toHaveLength(x.values.length);
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
