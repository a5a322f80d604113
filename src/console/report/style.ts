/** The page's style. Colours are Okabe and Ito's, told apart by colour-blind eyes; every colour has a word or shape beside it. */
export const STYLE = `
:root{--paper:#fbfaf7;--card:#ffffff;--ink:#191b1f;--quiet:#575b63;--rule:#e2dfd8;--grid:#ebe8e1;--accent:#00618f;--base:#676b72;--good:#00694a;--bad:#a83a00;--unsure:#7a5600;
--c-weights:#0072b2;--c-gradients:#e69f00;--c-optimizer:#009e73;--c-activations:#cc79a7;--c-buffers:#56b4e9;--c-logits:#d55e00;--c-other:#8a8d93;
--v-correct:#0072b2;--v-wrong:#d55e00;--v-unparsable:#9a9ca3;--v-unsolved:#e8b84a;--on-correct:#fff;--on-wrong:#1b0c00;--on-unparsable:#14161a;--on-unsolved:#1f1500}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){--paper:#14161a;--card:#1b1e23;--ink:#eceae5;--quiet:#a4a8b0;--rule:#30343b;--grid:#262a30;--accent:#63bdec;--base:#a0a4ac;--good:#4fd0a5;--bad:#ff9a5c;--unsure:#e8c06a;--v-correct:#3b9fd8;--on-correct:#04131d;--c-weights:#2a7fc8;--c-buffers:#9ad6fa}}
:root[data-theme=dark]{--paper:#14161a;--card:#1b1e23;--ink:#eceae5;--quiet:#a4a8b0;--rule:#30343b;--grid:#262a30;--accent:#63bdec;--base:#a0a4ac;--good:#4fd0a5;--bad:#ff9a5c;--unsure:#e8c06a;--v-correct:#3b9fd8;--on-correct:#04131d;--c-weights:#2a7fc8;--c-buffers:#9ad6fa}
*{box-sizing:border-box}
html{background:var(--paper);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1120px;padding:0 28px 48px;font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans","PingFang TC","Microsoft JhengHei","Noto Sans TC","Noto Sans CJK TC",sans-serif;font-variant-numeric:tabular-nums}
html:not([data-lang=zh]) .zh,html[data-lang=zh] .en{display:none}
h1,h2,h3,h4,p,ul,ol,dl,dd,figure{margin:0;padding:0}
ul,ol{list-style:none}
.quiet{color:var(--quiet)}
code,pre{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono","Noto Sans Mono CJK TC",monospace;font-size:.84em}
button,select,input{font:inherit;color:inherit}
button{white-space:nowrap}button,select{background:var(--card);border:1px solid var(--rule);border-radius:7px;padding:5px 12px;cursor:pointer;min-height:34px}
button:hover,select:hover{border-color:var(--quiet)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
.top{display:flex;justify-content:space-between;align-items:center;padding:18px 0 0}
.mark{font-weight:650;letter-spacing:.01em;display:flex;align-items:center;gap:9px}
.mark .quiet{font-weight:400}
.logo{display:inline-grid;grid-template-columns:9px 9px;gap:2px}
.logo i{width:9px;height:9px;border-radius:2px;background:var(--c-weights)}.logo i:nth-child(2){background:var(--c-gradients)}.logo i:nth-child(3){background:var(--c-optimizer)}.logo i:nth-child(4){background:var(--c-activations)}
.switches{display:flex;gap:8px}.switches button{font-size:.875rem}
.hero{padding:44px 0 34px;border-bottom:1px solid var(--rule)}
.run{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:center;overflow-wrap:anywhere}
.state{font-weight:650;font-size:.875rem;border:1.5px solid currentColor;border-radius:99px;padding:2px 12px}
.s-passed,.s-done{color:var(--good)}.s-refused,.s-failed{color:var(--bad)}.s-inconclusive,.s-stopped,.s-running{color:var(--unsure)}
h1{margin-top:18px;font-weight:700;line-height:1;letter-spacing:-.035em}
h1 .big{margin-left:-.05em;font-size:clamp(4rem,13vw,8.2rem)}h1 .unit{font-size:clamp(1.1rem,3vw,1.9rem);letter-spacing:-.01em;font-weight:500;color:var(--quiet)}
h1.plain{font-size:2rem;letter-spacing:-.01em;line-height:1.25}
.sentence{max-width:46em;margin-top:18px;font-size:1.19rem;line-height:1.5}
.share{position:relative;height:74px;margin:30px 6px 0;max-width:740px}.share i,.share b{position:absolute}
.tickline{top:24px;height:28px;border-left:1.5px solid var(--rule)}.tickline span{position:absolute;top:32px;left:0;transform:translateX(-50%);font:12px/1 inherit;font-size:.75rem;color:var(--quiet);font-style:normal;white-space:nowrap}.tickline:first-child span{transform:translateX(-6px)}.tickline:nth-child(5) span{transform:translateX(-80%)}
.share .link{top:37px;height:2px;background:var(--accent);opacity:.4}.share .ci{top:35.5px;height:5px;border-radius:3px;opacity:.55}.ci-base{background:var(--base)}.ci-candidate{background:var(--accent)}
.share .dot{top:31px;width:14px;height:14px;margin-left:-7px;border-radius:50%}.dot-base{background:var(--paper);border:3px solid var(--base)}.dot-candidate{background:var(--accent)}
.share .number{top:2px;transform:translateX(-50%);font-size:.9375rem;font-weight:650;white-space:nowrap}.share .n-base{color:var(--base)}.share .n-candidate{color:var(--accent)}
.dumbbell .grid{stroke:var(--grid);stroke-width:1.5}.dumbbell .link{stroke:var(--accent);stroke-width:2;opacity:.38}
.dumbbell .ci{stroke-width:3.5;stroke-linecap:round}.d-base .ci{stroke:var(--base);opacity:.55}.d-candidate .ci{stroke:var(--accent);opacity:.55}
.d-base circle{fill:var(--paper);stroke:var(--base);stroke-width:2.5}.d-candidate circle{fill:var(--accent)}
.tick{fill:var(--quiet);font-size:11.5px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(168px,1fr));gap:22px 28px;margin-top:34px}
.tiles div{display:flex;flex-direction:column;border-top:2px solid var(--ink);padding-top:9px}
.tiles .value{order:-1;font-size:1.5rem;font-weight:650;letter-spacing:-.015em;line-height:1.25}
.tiles dt{font-size:.875rem;line-height:1.4}.tiles .more{font-size:.8125rem;color:var(--quiet);line-height:1.4;margin-top:2px}
section{display:grid;grid-template-columns:208px minmax(0,1fr);gap:0 36px;padding:38px 0;border-bottom:1px solid var(--rule)}
section>header{align-self:start}
h2{font-size:1.25rem;font-weight:650;letter-spacing:-.01em;line-height:1.3}
.lead{margin-top:9px;font-size:.875rem;color:var(--quiet);line-height:1.55}
h3{font-size:1rem;font-weight:650;margin:30px 0 10px}#example h3{font-size:.875rem;margin:0 0 6px}
.note{font-size:.8125rem;color:var(--quiet);margin-top:12px;line-height:1.55}
.missing{color:var(--quiet);font-style:italic}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th{font-weight:500;text-align:left}thead th{color:var(--quiet);font-size:.8125rem;vertical-align:bottom}
th,td{padding:6px 14px 6px 0;vertical-align:middle}tr>:last-child{padding-right:0}
thead tr{border-bottom:1px solid var(--ink)}tbody tr{border-bottom:1px solid var(--grid)}
.n{text-align:right;white-space:nowrap}thead .n{white-space:normal}
.scroll{overflow-x:auto}
.effect .all th,.effect .all td{padding-top:10px;padding-bottom:10px;font-weight:600}.effect .all .ci-text{font-weight:400}
.effect .sub th{padding-top:20px;color:var(--quiet);font-size:.8125rem}
.ci-text{display:block;font-size:.75rem;color:var(--quiet);font-weight:400;line-height:1.3}
.plotcell{width:150px}.plotcell svg{display:block}
.bars{display:grid;grid-template-columns:max-content 1fr;gap:7px 14px;align-items:center;font-size:.9rem}
.stack{display:flex;height:30px;border-radius:5px;overflow:hidden;gap:1.5px}
.stack span{display:flex;align-items:center;justify-content:center;font-size:.8125rem;font-weight:600;min-width:2px}
.v-correct{background:var(--v-correct);color:var(--on-correct)}.v-wrong{background:var(--v-wrong);color:var(--on-wrong)}
.v-unparsable{background:var(--v-unparsable);color:var(--on-unparsable)}.v-unsolved{background:var(--v-unsolved);color:var(--on-unsolved)}
.legend{font-size:.8125rem;margin:10px 0 4px;color:var(--ink);line-height:2}
.key,.swatch{display:inline-block;width:12px;height:12px;border-radius:3px;vertical-align:-1px;margin:0 6px 0 0}.entry{white-space:nowrap;margin-right:12px}
.k-base{border:2.5px solid var(--base);border-radius:50%;background:none}.k-candidate{background:var(--accent);border-radius:50%}
.k-cap{width:2px;height:15px;background:var(--ink);border-radius:0}.k-peak{width:0;height:0;border:5px solid transparent;border-top:7px solid var(--ink);border-radius:0;vertical-align:-4px}.k-none{display:none}
.k-fault{width:0;height:0;border:6px solid transparent;border-top:9px solid var(--bad);border-radius:0;vertical-align:-4px}.k-save{width:2px;height:9px;background:var(--quiet);border-radius:0}.k-lost{width:5px;height:5px;border-radius:50%;background:var(--bad);vertical-align:2px}
.k-line{height:2.5px;width:20px;background:var(--accent);vertical-align:4px}.k-dash{height:0;width:20px;border-top:2.5px dashed var(--quiet);border-radius:0;vertical-align:4px}.k-level{height:0;width:20px;border-top:2.5px dotted var(--good);border-radius:0;vertical-align:4px}
.gate{display:grid;gap:10px}.gate li{display:flex;gap:12px;color:var(--ink)}.gate .sign{flex:none;width:26px;height:26px;border-radius:50%;border:1.5px solid currentColor;display:grid;place-items:center;font-weight:700;font-size:.875rem}
.gate .s-passed .sign{color:var(--good)}.gate .s-refused .sign{color:var(--bad)}.gate .s-inconclusive .sign{color:var(--unsure)}
.gate+p{margin-top:12px;font-size:.875rem}
.controls{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:center;gap:10px 20px;margin-bottom:14px;font-size:.9rem}
.controls select{margin-left:6px}.pager{display:flex;gap:10px;align-items:center}.pager button{min-width:40px}
#example{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:20px 22px}
.tags{font-size:.8125rem;color:var(--quiet);margin-bottom:10px;overflow-wrap:anywhere}.problem{white-space:pre-wrap;max-width:48em}
.answers{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:20px;margin-top:20px}
.answer pre{margin:0;padding:12px 14px;background:var(--paper);border:1px solid var(--rule);border-radius:8px;white-space:pre-wrap;overflow-wrap:anywhere;max-height:340px;overflow:auto;line-height:1.5}
.why{font-size:.8125rem;min-height:1.5em;margin-bottom:6px;overflow-wrap:anywhere}
.verdict{font-size:.75rem;padding:1px 9px;border-radius:99px;font-weight:650;margin-left:6px;white-space:nowrap}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:16px 28px}.facts dt{font-size:.8125rem;color:var(--quiet)}.facts dd{overflow-wrap:anywhere}
.facts.small{grid-template-columns:repeat(auto-fit,minmax(140px,1fr));font-size:.875rem}
pre.command,details pre{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 16px;overflow:auto;margin:0}
details{margin-top:18px}summary{cursor:pointer;font-size:.9rem;color:var(--accent)}details[open] summary{margin-bottom:10px}details pre{max-height:480px}
.funnel li{display:grid;grid-template-columns:minmax(130px,200px) 150px minmax(0,1fr);gap:2px 18px;align-items:center;padding:9px 0;border-bottom:1px solid var(--grid)}
.stepcount{text-align:right;white-space:nowrap}.stepcount b{font-weight:650}
.funnelbar{display:flex;height:16px}.funnelbar .kept{background:var(--accent);border-radius:3px 0 0 3px}.funnelbar .gone{background:repeating-linear-gradient(135deg,var(--rule) 0 3px,transparent 3px 6px);border:1px solid var(--rule);border-left:0}
.reasons{grid-column:2/-1;font-size:.8125rem;line-height:1.5}.reasons:empty{display:none}.reasons b{font-weight:600;color:var(--ink)}
.layout{font-size:1.05rem}.why{color:var(--quiet)}ul.why{font-size:.875rem;margin:8px 0 16px;min-height:0}ul.why li{padding-left:1.1em;text-indent:-1.1em}ul.why li::before{content:"– "}
.memory th{white-space:nowrap}.memory .wide{width:60%;min-width:240px}
.pieces{position:relative;display:flex;height:24px;background:var(--grid);border-radius:4px}.pieces span{height:100%;border-right:1px solid var(--paper)}.pieces span:first-child{border-radius:4px 0 0 4px}
.c-weights{background:var(--c-weights)}.c-gradients{background:var(--c-gradients)}.c-optimizer{background:var(--c-optimizer)}.c-activations{background:var(--c-activations)}.c-buffers{background:var(--c-buffers)}.c-logits{background:var(--c-logits)}.c-other{background:var(--c-other)}
.pieces .peak{position:absolute;top:-4px;width:0;height:0;margin-left:-5px;border:5px solid transparent;border-top:7px solid var(--ink)}.pieces .cap{position:absolute;top:-4px;bottom:-4px;width:2px;background:var(--ink)}
.charts{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:26px 32px}
figcaption{display:flex;align-items:baseline;gap:6px;font-size:.95rem}.log{margin-left:auto;font-size:.8125rem;color:var(--quiet);display:flex;gap:5px;align-items:center;cursor:pointer;padding:3px 0}
.read{font-size:.8125rem;color:var(--quiet);min-height:1.55em}.plot{touch-action:pan-y;cursor:crosshair;overflow:hidden}.plot svg{display:block;max-width:100%}
.plot .grid{stroke:var(--grid)}.plot .axis{stroke:var(--quiet)}.line{fill:none;stroke:var(--accent);stroke-width:1.8;stroke-linejoin:round}.line.dot{fill:var(--accent)}
.line-1{stroke:var(--quiet)}.dashed{stroke-dasharray:5 4}.band{fill:var(--accent);opacity:.17}.band-1{fill:var(--quiet);opacity:.1}
.fault line{stroke:var(--bad);stroke-dasharray:3 3}.fault path{fill:var(--bad)}.save{stroke:var(--quiet);stroke-width:1.5}.lost{fill:var(--bad);opacity:.75}.level{stroke:var(--good);stroke-width:2;stroke-dasharray:2 3}
.nan{stroke:var(--bad);stroke-width:2;fill:none}.cursor{stroke:var(--ink);stroke-opacity:.45}.cursor-dot{fill:var(--ink)}
#heat{margin-bottom:26px}#heat label{display:flex;align-items:center;gap:12px;flex:1 1 260px}#heat input[type=range]{flex:1;accent-color:var(--accent);min-width:120px}#heat .read{flex:1 1 300px;margin:0}
.heatgrid{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:8px}.rows{display:grid;font-size:.6875rem;color:var(--quiet);text-align:right;line-height:1}.rows span{align-self:center}
.heatcanvas canvas{display:block;cursor:crosshair}.swatch{border:1px solid var(--rule);background:var(--light)}.swatch.zero{box-shadow:inset 0 0 0 2px var(--light),inset 0 0 0 3.5px var(--paper)}
:root[data-theme=dark] .swatch{background:var(--dark)}:root[data-theme=dark] .swatch.zero{box-shadow:inset 0 0 0 2px var(--dark),inset 0 0 0 3.5px var(--paper)}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]) .swatch{background:var(--dark)}:root:not([data-theme=light]) .swatch.zero{box-shadow:inset 0 0 0 2px var(--dark),inset 0 0 0 3.5px var(--paper)}}
.strip{margin:4px 0 22px}.lane{position:relative;height:34px;background:var(--grid);border-radius:5px;overflow:hidden}
.phase{position:absolute;top:0;bottom:0;font-size:.75rem;padding:0 8px;line-height:34px;white-space:nowrap;overflow:hidden;border-right:1px solid var(--paper)}.p-0{background:color-mix(in srgb,var(--accent) 26%,var(--paper))}.p-1{background:color-mix(in srgb,var(--accent) 13%,var(--paper))}
.markers{position:relative;height:14px}.markers i{position:absolute;margin-left:-5px}.markers .e-fault{border:6px solid transparent;border-bottom:10px solid var(--bad);margin-top:-6px;z-index:2}.markers .e-checkpoint{width:1.5px;height:7px;margin-left:0;background:var(--quiet);margin-top:2px}.markers .e-healed{width:9px;height:9px;border-radius:50%;background:var(--good);margin-top:3px;margin-left:-2px;z-index:3}
.events td{vertical-align:top}.events .kind{white-space:nowrap;color:var(--quiet)}.events tr.e-fault .kind,.events tr.e-alarm .kind{color:var(--bad);font-weight:600}.events tr.e-healed .kind,.events tr.e-remedy .kind{color:var(--good);font-weight:600}
.sign{display:inline-block;min-width:1.1em}.healedline{font-size:1.05rem;color:var(--good);font-weight:600;margin-bottom:14px}
.lineage li{padding:7px 0;border-bottom:1px solid var(--grid);overflow-wrap:anywhere}.lineage code{margin:0 6px}
footer{padding:26px 0 0;font-size:.8125rem;color:var(--quiet)}
@media (max-width:860px){body{padding:0 18px 36px}section{display:block;padding:30px 0}section>header{margin-bottom:18px}.answers{grid-template-columns:1fr}.charts{grid-template-columns:1fr}.funnel li{grid-template-columns:1fr max-content}.funnelbar,.reasons{grid-column:1/-1}.hero{padding:32px 0 26px}.mark{flex-wrap:wrap}.mark .quiet{display:none}.memory .wide{min-width:160px}
.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:20px}.effect .plotcell,.wideonly{display:none}th,td{padding-right:9px}.memory th .quiet{display:block;font-size:.8125rem}.memory .wide{width:auto;min-width:96px}.memory td.n{font-size:.8125rem}.events td.n:last-child,.events thead td{padding-left:0}}
@media print{html,:root{--paper:#fff;--card:#fff;--ink:#000;--quiet:#444;--rule:#ccc;--grid:#e4e4e4}body{max-width:none;font-size:11pt}.switches,.controls select,.pager,.log{display:none}section{break-inside:auto;padding:20px 0}figure,.answer,tr,li{break-inside:avoid}.answer pre,details pre{max-height:none}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
@media (prefers-reduced-motion:no-preference){button,select{transition:border-color .15s}}
`.trim();
