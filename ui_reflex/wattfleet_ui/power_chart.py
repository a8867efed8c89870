# mypy: disable-error-code=no-any-return
# (Reflex's components are made by factories without types.)
"""The stacked chart of power per socket, with its legend and the switch between spans.

Gaps stay gaps: areas never connect over a missing value. The axis marks and every label were made in the household's
time zone (`charts`); the browser only places them.
"""

import reflex as rx
from reflex.vars.function import FunctionStringVar

from wattfleet_ui.charts import WINDOWS
from wattfleet_ui.state import Overview
from wattfleet_ui.theme import card


def power_chart() -> rx.Component:
    """The chart's card."""
    return card(
        rx.flex(
            rx.box(
                rx.heading(Overview.window_title, size="4", as_="h2"),
                rx.text(Overview.window_averages, size="2", color="var(--gray-11)", margin_top="4px"),
            ),
            rx.segmented_control.root(
                *(rx.segmented_control.item(key, value=key) for key in WINDOWS),
                value=Overview.window,
                on_change=Overview.show_window,
                size="1",
                aria_label="Span of the chart",
            ),
            justify="between",
            align="center",
            wrap="wrap",
            spacing="3",
        ),
        rx.cond(Overview.loaded, _drawing(), rx.skeleton(width="100%", height="340px", margin_top="16px")),
        aria_busy=Overview.chart_loading,
    )


def _drawing() -> rx.Component:
    return rx.cond(
        Overview.chart_bands,
        rx.box(
            rx.el.ul(
                rx.foreach(
                    Overview.chart_bands,
                    lambda band: rx.el.li(rx.box(class_name="wf-dot", background=band.color), band.name),
                ),
                class_name="wf-legend",
                aria_label="Sockets in the chart",
            ),
            rx.box(_areas(), margin="14px 0 0 -10px", role="img", aria_label=_summary()),
            rx.cond(
                Overview.chart_note != "",
                rx.text(Overview.chart_note, size="1", color="var(--gray-11)", margin_top="8px"),
            ),
            margin_top="14px",
            opacity=rx.cond(Overview.chart_loading, "0.5", "1"),
            transition="opacity 150ms",
        ),
        rx.center(rx.text("Nothing was measured in this time.", color="var(--gray-11)"), height="340px"),
    )


def _summary() -> str:
    return f"{Overview.window_title}: {Overview.window_averages}. {Overview.chart_note}"


def _areas() -> rx.Component:
    labels = rx.Var.create(Overview.chart_tick_labels)
    return rx.recharts.area_chart(
        rx.recharts.cartesian_grid(vertical=False, stroke="var(--gray-4)"),
        rx.recharts.x_axis(
            data_key="at",
            type_="number",
            scale="time",
            domain=Overview.chart_domain,
            ticks=Overview.chart_ticks,
            tick_formatter=FunctionStringVar.create(
                f"((at) => ({labels!s})[at] ?? '')", _var_data=labels._get_all_var_data()
            ),
            min_tick_gap=18,
            tick_line=False,
            stroke="var(--gray-7)",
        ),
        rx.recharts.y_axis(
            tick_line=False,
            axis_line=False,
            width=50,
            tick_formatter="(power) => power.toLocaleString('en-GB')",
        ),
        rx.recharts.graphing_tooltip(
            separator="  ",
            is_animation_active=False,
            custom_attrs={
                "labelFormatter": rx.Var("((at, rows) => rows?.[0]?.payload?.label ?? '')"),
                "itemSorter": rx.Var("((item) => -item.value)"),
                "formatter": rx.Var("((power) => `${Math.round(power).toLocaleString('en-GB')} W`)"),
            },
            content_style={
                "background": "var(--color-panel-solid)",
                "border": "1px solid var(--gray-6)",
                "borderRadius": "10px",
                "fontSize": "12px",
            },
            label_style={"color": "var(--gray-12)", "fontWeight": "600"},
            item_style={"padding": "1px 0"},
        ),
        rx.foreach(
            Overview.chart_bands,
            lambda band: rx.recharts.area(
                data_key=band.key,
                name=band.name,
                stroke=band.color,
                fill=band.color,
                stroke_width=1.5,
                type_="monotone",
                stack_id="power",
                connect_nulls=False,
                dot=False,
                is_animation_active=False,
                custom_attrs={"fillOpacity": 0.38},
            ),
        ),
        data=Overview.chart_rows,
        # What is given back hangs below zero, instead of lowering all that is drawn. Reflex lacks this offset.
        custom_attrs={"stackOffset": "sign"},
        width="100%",
        height=300,
        margin={"top": 8, "right": 8, "bottom": 0, "left": 0},
    )
