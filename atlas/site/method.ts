/** The page of a method: one setting, and parts that follow it. */

import type { PageData } from '../build/page-data';
import { Helper } from './ask';
import { commandOf, programOf } from './code';
import { startCode } from './code-part';
import { startCost } from './cost-part';
import { type MethodPage, showFault } from './live';
import { startOutputs } from './outputs-part';
import { $ } from './page';
import { startPicture } from './picture-part';
import { startReach } from './reach-part';
import { startRelief } from './relief-part';
import { startRun } from './run-part';
import { startSentence } from './sentence-part';
import { SettingForm } from './setting-form';
import { startWithin } from './within-part';

const data = JSON.parse($('#method').textContent!) as PageData;
/** One helper draws and counts, one runs, so that a long run does not delay pictures; for masks another computes weights. */
const [counter, runner] = [new Helper(), new Helper()];
const weigher = data.masked ? new Helper() : counter;
const form = new SettingForm(data, changed);
/** The one that draws what the page opens on: it has the method first. */
const opener = $<HTMLSelectElement>('#picture')?.value === 'weights' ? weigher : counter;

const page: MethodPage = { data, form, words: [] };
startRun(page, runner);
const writeCode = startCode(
  page,
  (setting) => opener.ask('checkSetting', { setting }),
  (setting) => ({
    program: programOf(data, setting, $('#method').dataset.layer !== undefined),
    command: commandOf(data, setting),
  }),
);
const query = () => Number($<HTMLInputElement>('#i')?.value ?? 0);
const updateReach = startReach(page, counter, query);
const updateRelief = startRelief(page, { counter, weigher }, query);
const updateCost = startCost(page, counter);
const updateWithin = startWithin(page, weigher);
const sentence = startSentence(page, { counter, weigher });
const showPicture =
  data.masked || data.weighed
    ? startPicture(page, { counter, weigher }, () => {
        updateReach();
        updateRelief();
        sentence.point();
      })
    : startOutputs(page, counter);

/** Milliseconds in which a picture is painted, before the rest of the page takes the processor and the network. */
const PAINT = 100;

/** The words first, whose number is the length for all parts; then the picture, and what is beside it. */
async function changed(): Promise<void> {
  showFault(page);
  await sentence.update();
  void writeCode();
  await showPicture();
  await new Promise((resolve) => setTimeout(resolve, PAINT));
  await Promise.all([updateReach(), updateRelief(), updateCost(), updateWithin()]);
  $('.bench').dataset.stands = '';
}
void changed();
