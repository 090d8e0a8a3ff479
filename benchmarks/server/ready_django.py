"""Executed once, where a project can be made ready in memory: imports what
every group of Django's tests needs, without settings, and so without effects."""

import importlib

import lacking
import live

MODULES = [
    "django.conf.urls.i18n", "django.contrib.admin.helpers", "django.contrib.admin.templatetags.admin_list",
    "django.contrib.auth.hashers", "django.contrib.contenttypes.fields", "django.contrib.messages.api",
    "django.contrib.sessions.backends.db", "django.contrib.staticfiles.finders", "django.core.cache",
    "django.core.mail", "django.core.management.commands.check", "django.core.management.commands.migrate",
    "django.core.management.sql", "django.core.paginator", "django.core.serializers.json", "django.core.servers.basehttp",
    "django.db.backends.sqlite3.base", "django.db.migrations.autodetector", "django.db.migrations.executor",
    "django.db.models", "django.forms", "django.http", "django.middleware.common", "django.middleware.csrf",
    "django.shortcuts", "django.template.backends.django", "django.template.defaulttags", "django.template.loader_tags",
    "django.test", "django.test.client", "django.test.runner", "django.test.selenium", "django.urls",
    "django.utils.deprecation", "django.utils.translation.trans_real", "django.views.debug", "django.views.generic",
    "django.views.defaults", "django.views.i18n", "django.views.static",
]

lacking.install()
FAILED = {}
for name in MODULES:
    try:
        importlib.import_module(name)
    except Exception as error:
        FAILED[name] = repr(error)
INDEX = live.index("/src/django/")
