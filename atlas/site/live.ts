/** Shared by the parts of a method's page: their states, the setting that they follow, plots that can be saved. */
import type { FormData, PageData } from '../build/page-data';
import { Cancelled } from './ask';
import { element, html } from './html';
import { $ } from './page';
import { tokensIn } from './problem';
import { saves, svgPng, svgText } from './save';
import type { SettingForm } from './setting-form';
import type { Setting } from './tasks/setting';

/** The page of a method or model, to which a part belongs. */
export interface AnyPage {
  readonly data: FormData;
  readonly form: SettingForm;
}

export interface MethodPage extends AnyPage {
  readonly data: PageData;
  /** The words of the tokens, if they are of a text. */
  words: readonly string[];
}

export const part = (name: string) => document.querySelector<HTMLElement>(`[data-live="${name}"]`);

/** Does the work of a part. An error becomes its sentence, and the last good picture stays, faded. */
export async function live(name: string, work: (box: HTMLElement) => Promise<string | undefined>): Promise<void> {
  const box = part(name)!;
  const said = $('[data-said]', box);
  box.dataset.state = 'running';
  try {
    said.textContent = (await work(box)) ?? '';
    box.dataset.state = 'done';
  } catch (error) {
    const text = sentence(error);
    said.textContent = isAtField(text) ? '' : text;
    box.dataset.state = error instanceof Cancelled ? 'idle' : 'error';
  }
}

/** Whether a sentence stands at the field that it is about: a param's, or that of a size. */
function isAtField(text: string): boolean {
  const [, param] = /^param (\S+) of /.exec(text) ?? [];
  const field = param && document.getElementById(`param-${param}`);
  if (!field) return text === document.querySelector('#wrong')?.textContent;
  const place = field.closest('.param')!;
  const known = place.querySelector('.wrong');
  if (known) known.textContent = text;
  else place.append(element(html`<p class="wrong" role="alert">${text}</p>`));
  return true;
}

/** Says beside the form what is wrong with its setting, if anything is. */
export function showFault({ form }: AnyPage): void {
  for (const line of document.querySelectorAll('.param > .wrong')) line.remove();
  try {
    form.setting();
    form.complain('');
  } catch (error) {
    form.complain(sentence(error));
  }
}

export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const capital = /^(param|method|\w) /.test(text) ? text : text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

export const count = (setting: Setting) => tokensIn(setting.extents);
/** The head that a field names, or the nearest that there is. */
export const headOf = ({ value }: HTMLInputElement, { extents }: Setting) =>
  Math.max(0, Math.min(extents.h - 1, Math.floor(Number(value)) || 0));

/** How many layers the picture shows. */
export const layersShown = () => Number($<HTMLInputElement>('[name=layers]:checked').value);

/** Puts a plot into a part, redraws it at other widths, and offers files of it. */
export function draw(box: HTMLElement, name: string, drawing: (width: number) => string, json: object): void {
  const place = $('[data-plot]', box);
  const show = () => {
    place.innerHTML = drawing(place.clientWidth || 320);
  };
  show();
  const svg = () => $<SVGSVGElement>('svg', place);
  saves($('[data-saves]', box), name, { svg: () => svgText(svg()), png: () => svgPng(svg()), json: () => json });
  redraw.set(box, show);
}
const redraw = new Map<HTMLElement, () => void>();
let width = innerWidth;
addEventListener('resize', () => {
  if (width === innerWidth) return;
  width = innerWidth;
  for (const again of redraw.values()) again();
});
