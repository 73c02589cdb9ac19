import { type ComparisonReport, isMeasured, type Row } from '../compare/comparison';
import { lettersAt } from '../compare/contenders';
import type { Picture } from '../compare/picture';
import { maskSvg } from '../masks/picture';
import { problemOfLetters } from '../methods/define';
import { findMethod } from '../methods/registry';
import { htmlPage } from './page';

/** What the page of a comparison is drawn from. */
export interface ComparisonPage {
  readonly report: ComparisonReport;
  /** The mask of each row that has one, as SVG, by label. */
  readonly pictures: Readonly<Record<string, string>>;
  /** What the tokens are patches of. */
  readonly photograph?: Photograph;
}

export interface Photograph {
  readonly width: number;
  readonly height: number;
  /** Base64 of red, green and blue bytes, [height, width, 3]. */
  readonly rgb: string;
}

/** The comparison as one self-contained page. */
export function comparisonHtml(report: ComparisonReport, picture?: Picture): string {
  const pictures = report.rows.filter(isMeasured).flatMap((row) => {
    const svg = pictureOf(row, report);
    return svg ? [[row.label, svg]] : [];
  });
  const data: ComparisonPage = {
    report,
    pictures: Object.fromEntries(pictures),
    ...(picture && { photograph: photographOf(picture) }),
  };
  return htmlPage({ title: 'Which attention to use', view: 'compare', data });
}

function pictureOf({ method: name, params, label }: Row, report: ComparisonReport): string | undefined {
  const method = findMethod(name);
  const problem = problemOfLetters(lettersAt(report));
  const mask = method.mask?.(method.parse(params), problem);
  return mask && maskSvg(mask, { ...problem, batch: 0, head: 0 }, { title: label, bare: true });
}

function photographOf({ width, height, rgb }: Picture): Photograph {
  const bytes = Array.from(rgb, (value) => String.fromCharCode(Math.round(255 * value)));
  return { width, height, rgb: btoa(bytes.join('')) };
}
