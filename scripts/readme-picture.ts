/** Takes the README's picture of a comparison: node scripts/readme-picture.ts report.html docs/report.png */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { launchChromium } from '../test/page.ts';

const SHOWN = ['Error against speed-up', 'Where each head looks'];

const [report, picture] = process.argv.slice(2);
if (!report || !picture) throw new Error('usage: node scripts/readme-picture.ts REPORT.html PICTURE.png');
const browser = await launchChromium();
const page = await browser.newPage({ viewport: { width: 1200, height: 600 } });
await page.goto(pathToFileURL(resolve(report)).href);
await page.locator('section').evaluateAll((sections, shown) => {
  for (const section of sections) {
    if (!shown.includes(section.querySelector('h2')?.textContent ?? '')) section.remove();
  }
}, SHOWN);
await page.screenshot({ path: picture, fullPage: true });
await browser.close();
