/**
 * The stored runs of the experiments, docs/reproduce/*.json, beside what shows them. `node scripts/reproduce.ts` runs them
 * again; `npx vitest run test/reproduced.test.ts -u` brings pages and figures up to date.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadExperiment, measured } from '../src/experiments';
import { type Claim, isOf } from '../src/experiments/experiment';
import { methods } from '../src/methods/registry';
import { citationOf } from '../src/papers/find';
import { htmlPage } from '../src/report/page';
import {
  type Reproduction,
  reproductionNotes,
  reproductionRows,
  reproductionSetting,
} from '../src/report/reproduction';
import { has } from './has';
import { markdownTable, replaceSection } from './markdown';
import { launchChromium } from './page';

const root = resolve(import.meta.dirname, '..');

const hasChromium = has('chromium');
let browser: Browser;
beforeAll(async () => {
  if (hasChromium) browser = await launchChromium();
});
afterAll(() => browser?.close());

describe.each(measured.map((paper) => [paper.id, paper] as const))('%s', (id, paper) => {
  let run: Reproduction;
  beforeAll(async () => {
    run = JSON.parse(await readFile(`${root}/docs/reproduce/${id}.json`, 'utf8'));
  });

  test('the stored run is a whole one of the claims as they are, none of them still to test, and its verdicts follow from its figures', async () => {
    expect(run).toMatchObject({ paper: citationOf(paper), command: `saccade reproduce ${id}`, quick: false });
    const claims = Object.values((await loadExperiment(paper)).claims);
    expect(run.findings.map(({ claim }) => claim)).toEqual(claims.map(({ claim }) => claim));
    const open = paper.claims?.map(({ claim }) => claim) ?? [];
    expect(claims.filter(({ claim }) => open.includes(claim))).toEqual([]);
    expect(run.findings.filter((finding, at) => !isOf(claims[at] as Claim, finding))).toEqual([]);
  });

  const own = methods.filter((method) => method.paper === paper.arxiv).map(({ name, family }) => `${family}/${name}`);
  test.each(own)('the page of %s shows the stored run', async (folder) => {
    const page = `${root}/src/methods/${folder}/README.md`;
    const text = replaceSection(await readFile(page, 'utf8'), 'reproduce', pageSection(run));
    await expect(text).toMatchFileSnapshot(page);
  });

  test.runIf(hasChromium)('the figure is that of the stored run', async ({ skip }) => {
    skip(!hasFigure(run), 'it has none');
    const figure = await drawn(run);
    await expect(figure).toMatchFileSnapshot(`${root}/docs/reproduce/${id}.svg`);
  });
});

/** Whether it has series: figures alone, such as counts, are in the table. */
const hasFigure = ({ findings }: Reproduction) => findings.some(({ series }) => series);

function pageSection(run: Reproduction): string {
  const { paper, command } = run;
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const header = ['', 'claim', 'source', 'measured', 'verdict'];
  const rows = [header, ...reproductionRows(run)].map((cells) => cells.map(cell));
  const picture = `![The figures of the stored run](../../../../docs/reproduce/${paper.id}.svg)`;
  return [
    ...(hasFigure(run) ? [picture] : []),
    markdownTable(rows, header.length),
    reproductionNotes(run).join('\n'),
    `${reproductionSetting(run)} By \`${command}\`; every figure is in [docs/reproduce/${paper.id}.json](../../../../docs/reproduce/${paper.id}.json).`,
  ].join('\n\n');
}

/** The picture of the report's page, as a file of its own. */
async function drawn(run: Reproduction): Promise<string> {
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 }, colorScheme: 'light' });
  try {
    await page.setContent(htmlPage({ title: run.paper.id, view: 'reproduce', data: run }));
    const figure = await page
      .locator('section > svg')
      .evaluate((element) => new XMLSerializer().serializeToString(element));
    return `${figure}\n`;
  } finally {
    await page.close();
  }
}
