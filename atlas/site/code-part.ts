/** The part of a page that shows code with its setting. */
import { latest } from './ask';
import { highlighted } from './highlight';
import { type AnyPage, live } from './live';
import { $, $$, copies } from './page';
import type { Setting } from './tasks/setting';

interface Code {
  /** Where a program computes it. */
  readonly program?: string | undefined;
  readonly command: string;
}

/** What writes the code anew, once `accept` has taken the setting: before that there is nothing to copy. */
export function startCode(
  { form }: AnyPage,
  accept: (setting: Setting) => Promise<unknown>,
  codeOf: (setting: Setting) => Code,
): () => void {
  for (const button of $$('[data-copy]'))
    copies(button, () => $('code', button.parentElement!).textContent, 'not allowed');
  return latest(() =>
    live('code', async (box) => {
      const setting = form.setting();
      await accept(setting);
      const { program, command } = codeOf(setting);
      if (program !== undefined) $('[data-code]', box).innerHTML = highlighted(program);
      $('[data-command]', box).textContent = command;
      return undefined;
    }),
  );
}
