import 'katex/dist/katex.css';
import './page';
