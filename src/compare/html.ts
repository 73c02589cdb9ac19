import { maskSvg } from '../masks/picture';
import { problemOfLetters } from '../methods/define';
import { findMethod } from '../methods/registry';
import { htmlPage } from '../report/page';
import type { ComparisonReport, Row } from './comparison';

/** What the page of a comparison is drawn from. */
export interface ComparisonPage {
  readonly report: ComparisonReport;
  /** The mask of each row that has one, as SVG, by label. */
  readonly pictures: Readonly<Record<string, string>>;
}

/** The comparison as one self-contained page. */
export function comparisonHtml(report: ComparisonReport): string {
  const pictures = report.rows.flatMap((row) => {
    const svg = pictureOf(row, report.extents);
    return svg ? [[row.label, svg]] : [];
  });
  const data: ComparisonPage = { report, pictures: Object.fromEntries(pictures) };
  return htmlPage({ title: 'Which attention to use', view: 'compare', data });
}

function pictureOf({ method: name, params, label }: Row, extents: ComparisonReport['extents']): string | undefined {
  const method = findMethod(name);
  const mask = method.mask?.(method.parse(params), problemOfLetters(extents));
  return mask && maskSvg(mask, { ...problemOfLetters(extents), batch: 0, head: 0 }, { title: label, bare: true });
}
