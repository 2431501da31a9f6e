"""Keeps schemathesis from suspending, or taking the office of, the very account that it asks as: all that came after would be
refused alike and show nothing."""
import schemathesis


@schemathesis.hook
def before_call(context, case, **kwargs):
    if "/users/{name}" in case.operation.path and case.path_parameters.get("name") == "ada":
        case.path_parameters["name"] = "nobody"
