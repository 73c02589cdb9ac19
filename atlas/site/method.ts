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

const page: MethodPage = { data, form, words: [] };
startRun(page, runner);
const writeCode = startCode(
  page,
  (setting) => counter.ask('checkSetting', { setting }),
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

function changed(): void {
  showFault(page);
  // The words first, whose number is the length for all parts; then the picture.
  void sentence.update().then(async () => {
    writeCode();
    await showPicture();
    $('.bench').dataset.stands = '';
    updateReach();
    updateRelief();
    updateCost();
    updateWithin();
  });
}
changed();
