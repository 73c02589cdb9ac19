import { type ComparisonReport, isMeasured, type Row } from '../compare/comparison';
import { lettersAt } from '../compare/contenders';
import { pictureMethods } from '../compare/picture-methods';
import { maskSvg } from '../masks/picture';
import { type Method, problemOfLetters } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import { methods as allMethods } from '../methods/registry';
import type { Picture } from '../pictures/picture';
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

export interface ComparisonHtmlOptions {
  /** What the tokens are patches of. */
  readonly picture?: Picture | undefined;
  /** What was compared beside exact attention. Default: methods of the library. */
  readonly methods?: readonly Method[] | undefined;
}

/** The comparison as one self-contained page. */
export function comparisonHtml(
  report: ComparisonReport,
  { picture, methods = allMethods }: ComparisonHtmlOptions = {},
): string {
  const pictures = report.rows.filter(isMeasured).flatMap((row) => {
    const method = [exactAttention as Method, ...methods, ...pictureMethods].find(
      ({ name }) => name === row.method,
    ) as Method;
    const svg = pictureOf(method, row, report);
    return svg ? [[row.label, svg]] : [];
  });
  const data: ComparisonPage = {
    report,
    pictures: Object.fromEntries(pictures),
    ...(picture && { photograph: photographOf(picture) }),
  };
  return htmlPage({ title: 'Which attention to use', view: 'compare', data });
}

function pictureOf(method: Method, { params, label }: Row, report: ComparisonReport): string | undefined {
  const problem = problemOfLetters(lettersAt(report));
  const mask = method.mask?.(method.parse(params), problem);
  return mask && maskSvg(mask, { ...problem, batch: 0, head: 0 }, { title: label, bare: true });
}

function photographOf({ width, height, rgb }: Picture): Photograph {
  const bytes = Array.from(rgb, (value) => String.fromCharCode(Math.round(255 * value)));
  return { width, height, rgb: btoa(bytes.join('')) };
}
