"""Callbacks by file, forgotten when the scripts are loaded anew."""

import dataclasses
import inspect

from modules import errors


@dataclasses.dataclass
class ScriptCallback:
    script: str
    callback: object
    name: str = "unnamed"


CATEGORIES = ("app_started", "on_reload", "model_loaded", "ui_tabs", "ui_settings", "script_unloaded", "before_ui")
callback_map = {f"callbacks_{c}": [] for c in CATEGORIES}


def add_callback(callbacks, fun, *, name=None, category="unknown", filename=None):
    if filename is None:
        filename = next((x.filename for x in inspect.stack() if x.filename != __file__), "unknown file")
    callbacks.append(ScriptCallback(filename, fun, name or category))


def clear_callbacks():
    for callbacks in callback_map.values():
        callbacks.clear()


def _call(category, *arguments):
    results = []
    for c in list(callback_map[f"callbacks_{category}"]):
        try:
            results.append(c.callback(*arguments))
        except Exception:
            errors.report(f"Error executing callback {category} for {c.script}", exc_info=True)
    return results


def app_started_callback(demo, app):
    _call("app_started", demo, app)


def app_reload_callback():
    _call("on_reload")


def model_loaded_callback(sd_model):
    _call("model_loaded", sd_model)


def ui_tabs_callback():
    return [tab for tabs in _call("ui_tabs") for tab in tabs or []]


def ui_settings_callback():
    _call("ui_settings")


def script_unloaded_callback():
    _call("script_unloaded")


def before_ui_callback():
    _call("before_ui")


def on_app_started(callback, *, name=None):
    add_callback(callback_map["callbacks_app_started"], callback, name=name, category="app_started")


def on_before_reload(callback, *, name=None):
    add_callback(callback_map["callbacks_on_reload"], callback, name=name, category="on_reload")


def on_model_loaded(callback, *, name=None):
    add_callback(callback_map["callbacks_model_loaded"], callback, name=name, category="model_loaded")


def on_ui_tabs(callback, *, name=None):
    add_callback(callback_map["callbacks_ui_tabs"], callback, name=name, category="ui_tabs")


def on_ui_settings(callback, *, name=None):
    add_callback(callback_map["callbacks_ui_settings"], callback, name=name, category="ui_settings")


def on_script_unloaded(callback, *, name=None):
    add_callback(callback_map["callbacks_script_unloaded"], callback, name=name, category="script_unloaded")


def on_before_ui(callback, *, name=None):
    add_callback(callback_map["callbacks_before_ui"], callback, name=name, category="before_ui")
