// @ts-check
// A chart's own texts, in the languages of the page.

export const TEXTS = {
  en: {
    failed: "This chart could not be drawn: ",
    offline: "the chart library did not load; reload the page.",
    more: (count) => `… and ${count.toLocaleString("en")} more rows`,
    image: "image",
    value: "value",
    series: "series",
  },
  zh: {
    failed: "无法绘制此图表：",
    offline: "图表库未能加载，请刷新页面。",
    more: (count) => `……还有 ${count.toLocaleString("zh")} 行`,
    image: "图片",
    value: "值",
    series: "系列",
  },
};
