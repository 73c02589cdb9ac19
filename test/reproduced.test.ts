/**
 * The stored runs of the experiments, docs/reproduce/*.json, beside what shows them. `node scripts/reproduce.ts` runs them
 * again; `npx vitest run test/reproduced.test.ts -u` brings pages and figures up to date.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { judge } from '../src/methods/experiment';
import { methods } from '../src/methods/registry';
import { htmlPage } from '../src/report/page';
import {
  type Reproduction,
  reproductionNotes,
  reproductionRows,
  reproductionSetting,
} from '../src/report/reproduction';
import { markdownTable, replaceSection } from './markdown';
import { launchChromium } from './page';

const root = resolve(import.meta.dirname, '..');

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

describe.each(methods.filter(({ experiment }) => experiment).map((method) => [method.name, method] as const))(
  '%s',
  (name, method) => {
    let run: Reproduction;
    beforeAll(async () => {
      run = JSON.parse(await readFile(`${root}/docs/reproduce/${name}.json`, 'utf8'));
    });

    test('the stored run is a whole one of the claims as they are, and its verdicts follow from its figures', async () => {
      expect(run).toMatchObject({ method: name, command: `saccade reproduce ${name}`, quick: false });
      const experiment = (await method.experiment?.())?.experiment;
      const claims = Object.values(experiment?.claims ?? {});
      expect(run.findings.map(({ claim, source }) => [claim, source])).toEqual(
        claims.map(({ claim, source }) => [claim, source]),
      );
      for (const [at, { judgements, verdict }] of run.findings.entries()) {
        const claim = claims[at] as (typeof claims)[number];
        const figures = judgements.map(({ value, interval }) =>
          interval ? { value, low: interval[0], high: interval[1] } : value,
        );
        const names = Object.keys(claim.criteria);
        expect(judge(claim, Object.fromEntries(names.map((key, i) => [key, figures[i] as number])))).toEqual({
          judgements,
          verdict,
        });
      }
    });

    test('the page shows the stored run', async () => {
      const page = `${root}/src/methods/${method.family}/${name}/README.md`;
      const text = replaceSection(await readFile(page, 'utf8'), 'reproduce', pageSection(run));
      await expect(text).toMatchFileSnapshot(page);
    });

    test('the figure is that of the stored run', async () => {
      const figure = await drawn(run);
      await expect(figure).toMatchFileSnapshot(`${root}/docs/reproduce/${name}.svg`);
    });
  },
);

function pageSection(run: Reproduction): string {
  const { method, command } = run;
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const header = ['', 'claim', 'source', 'measured', 'verdict'];
  const rows = [header, ...reproductionRows(run)].map((cells) => cells.map(cell));
  return [
    `![The figures of the stored run](../../../../docs/reproduce/${method}.svg)`,
    markdownTable(rows, header.length),
    reproductionNotes(run).join('\n'),
    `${reproductionSetting(run)} By \`${command}\`; every figure is in [docs/reproduce/${method}.json](../../../../docs/reproduce/${method}.json).`,
  ].join('\n\n');
}

/** The picture of the report's page, as a file of its own. */
async function drawn(run: Reproduction): Promise<string> {
  const page = await browser.newPage({ viewport: { width: 1200, height: 800 }, colorScheme: 'light' });
  try {
    await page.setContent(htmlPage({ title: run.method, view: 'reproduce', data: run }));
    const figure = await page
      .locator('section > svg')
      .evaluate((element) => new XMLSerializer().serializeToString(element));
    return `${figure}\n`;
  } finally {
    await page.close();
  }
}
