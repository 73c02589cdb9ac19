/** What the build refuses: methods without a page, and pages that do not fit their method. */
import { isRecord, show } from '../check';
import { ParameterError } from '../errors';
import type { Method } from './define';
import { lettersOf, type Page, shapeOfSpec, VIEWS } from './page';

/**
 * The page of a method.
 *
 * @throws {ParameterError} with the name of the method: there is no page, or it lacks something, or it does not fit the method
 */
export async function checkedPage(method: Method, names: readonly string[]): Promise<Page> {
  const loaded = await method.page?.();
  if (!loaded) throw new ParameterError(`${method.name} has no page: give its definition page: () => import('./page')`);
  checkPage(method, loaded.page, names);
  return loaded.page;
}

function checkPage(method: Method, page: Page, names: readonly string[]): void {
  const refuse = (expected: string) => new ParameterError(`the page of ${method.name} ${expected}`);
  if (!isRecord(page)) throw refuse(`must be an object, got ${show(page)}`);
  const { question, sample, presets, rivals, view } = page;
  if (typeof question !== 'string' || !question.endsWith('?'))
    throw refuse(`must ask a question, got ${show(question)}`);
  if (!isRecord(sample)) throw refuse(`has no sample: it must be an object, got ${show(sample)}`);
  if (!VIEWS.includes(view)) throw refuse(`must have a view of ${VIEWS.join(', ')}, got ${show(view)}`);
  if (view === 'mask' && !method.mask) throw refuse('has the view mask, but the method has none');
  const { params, extents } = sample;
  for (const setting of [{ params, extents }, ...presets])
    method.cost(lettersOf({ ...extents, ...setting.extents }), method.parse(setting.params));
  const open = Object.entries(method.inputs).find(([, spec]) => shapeOfSpec(spec, extents).includes(undefined));
  if (open && !method.layer) throw refuse(`has no extents for its input ${open[0]} [${open[1]}]`);
  const unknown = rivals.find((rival) => !names.includes(rival));
  if (unknown !== undefined) throw refuse(`has the rival ${unknown}, which is no method`);
}
