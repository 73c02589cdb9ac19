/** The live parts of a method's page, each with its state. */
import { Cancelled } from './ask';
import { $ } from './page';

type Part = 'mask' | 'reach' | 'cost' | 'run' | 'code';
export const part = (name: Part) => document.querySelector<HTMLElement>(`[data-live="${name}"]`);

/** Does the work of a part: what goes wrong becomes its sentence, and the last good picture stays, faded. */
export async function live(name: Part, work: (box: HTMLElement) => Promise<string | undefined>): Promise<void> {
  const box = part(name)!;
  const said = $('[data-said]', box);
  box.dataset.state = 'running';
  try {
    said.textContent = (await work(box)) ?? '';
    box.dataset.state = 'done';
  } catch (error) {
    said.textContent = sentence(error);
    box.dataset.state = error instanceof Cancelled ? 'idle' : 'error';
  }
}

export function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const capital = /^(param|method) /.test(text) ? text : text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
