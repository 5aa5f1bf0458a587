// What a chart says by itself, in the languages of the page.

export const TEXTS = {
  en: {
    empty: "Run this stage to draw this chart.",
    table: "Show as table",
    png: "Save as PNG",
    csv: "Save the numbers as CSV",
    reset: "Reset the view",
    failed: "This chart could not be drawn: ",
    offline: "the chart library did not load; reload the page.",
    more: (count) => `… and ${count.toLocaleString("en")} more rows`,
    picture: "picture",
    value: "value",
    series: "series",
  },
  zh: {
    empty: "运行此阶段以绘制图表。",
    table: "以表格显示",
    png: "保存为 PNG",
    csv: "将数据保存为 CSV",
    reset: "重置视图",
    failed: "无法绘制此图表：",
    offline: "图表库未能加载，请刷新页面。",
    more: (count) => `……还有 ${count.toLocaleString("zh")} 行`,
    picture: "图片",
    value: "值",
    series: "系列",
  },
};
