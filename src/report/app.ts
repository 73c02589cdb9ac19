/** The script of every report: shows the page's data in the view it names. */

import { benchView } from './bench-view';
import { compareView } from './compare-view';
import { contextParallelView } from './context-parallel-view';
import type { Child } from './dom';
import { element } from './dom';
import { longContextView } from './long-context-view';
import { longCaView } from './longca-view';
import { lookView } from './look-view';
import type { Page } from './page';
import { paintView } from './paint-view';
import { qualityView } from './quality-view';
import { reproduceView } from './reproduce-view';
import { sweepView } from './sweep-view';

/** A view turns the page's data into its content, under the title. */
// biome-ignore lint/suspicious/noExplicitAny: each view knows the type of the data that its own command embeds
const views: Record<string, (data: any) => readonly Child[]> = {
  bench: benchView,
  compare: compareView,
  'context-parallel': contextParallelView,
  'long-context': longContextView,
  longca: longCaView,
  look: lookView,
  paint: paintView,
  quality: qualityView,
  reproduce: reproduceView,
  sweep: sweepView,
};

const { title, view, data } = JSON.parse(document.getElementById('report')?.textContent ?? '') as Page;
document.getElementById('app')?.replaceChildren(element('h1', {}, title), ...(views[view]?.(data) ?? []));
