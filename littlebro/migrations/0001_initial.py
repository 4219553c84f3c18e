import django.utils.timezone
from django.db import migrations, models

import littlebro.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Tombstone",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("digest", littlebro.fields.ExactCharField(max_length=64, unique=True)),
                ("forgotten_at", littlebro.fields.UTCDateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name": "tombstone",
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("alias", littlebro.fields.ExactCharField(max_length=100)),
                (
                    "sink",
                    littlebro.fields.ExactCharField(
                        blank=True,
                        default="",
                        help_text="Alias of the sink; empty is the alias's own backend.",
                        max_length=100,
                    ),
                ),
                ("collection", littlebro.fields.ExactCharField(max_length=64)),
                ("event_id", littlebro.fields.ExactCharField(max_length=200)),
                ("name", littlebro.fields.ExactCharField(blank=True, max_length=200)),
                ("user_id", littlebro.fields.ExactCharField(blank=True, max_length=200, null=True)),
                ("anonymous_id", littlebro.fields.ExactCharField(blank=True, max_length=200, null=True)),
                ("body", models.BinaryField(help_text="The event as it was encoded, after redaction.")),
                ("reason", models.TextField()),
                ("attempts", models.PositiveIntegerField(default=1)),
                ("created_at", littlebro.fields.UTCDateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name": "dead letter",
                "permissions": [("replay_deadletter", "Can replay dead letter")],
                "indexes": [
                    models.Index(fields=["event_id"], name="littlebro_deadletter_event"),
                    models.Index(fields=["user_id"], name="littlebro_deadletter_user"),
                    models.Index(fields=["anonymous_id"], name="littlebro_deadletter_anonymous"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("alias", "sink", "collection", "event_id"), name="littlebro_deadletter_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LossCount",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("alias", littlebro.fields.ExactCharField(max_length=100)),
                ("reason", littlebro.fields.ExactCharField(max_length=200)),
                ("day", models.DateField()),
                (
                    "source",
                    littlebro.fields.ExactCharField(
                        blank=True,
                        default="",
                        help_text="File the count came from; empty once it is summed up.",
                        max_length=100,
                    ),
                ),
                ("n", models.BigIntegerField(default=0)),
            ],
            options={
                "verbose_name": "count of losses",
                "verbose_name_plural": "counts of losses",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("alias", "reason", "day", "source"), name="littlebro_losscount_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StoredEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("collection", littlebro.fields.ExactCharField(max_length=64)),
                ("event_id", littlebro.fields.ExactCharField(max_length=200)),
                ("name", littlebro.fields.ExactCharField(max_length=200)),
                ("timestamp", littlebro.fields.UTCDateTimeField()),
                ("received_at", littlebro.fields.UTCDateTimeField()),
                ("params", models.JSONField(default=dict)),
                ("context", models.JSONField(default=dict)),
                ("user_id", littlebro.fields.ExactCharField(blank=True, max_length=200, null=True)),
                ("anonymous_id", littlebro.fields.ExactCharField(blank=True, max_length=200, null=True)),
                ("v", models.SmallIntegerField(default=1)),
            ],
            options={
                "verbose_name": "stored event",
                "indexes": [
                    models.Index(
                        fields=["timestamp", "event_id", "collection"], name="littlebro_event_order"
                    ),
                    models.Index(
                        fields=["name", "timestamp", "event_id", "collection"], name="littlebro_event_name"
                    ),
                    models.Index(fields=["user_id", "timestamp"], name="littlebro_event_user"),
                    models.Index(fields=["anonymous_id", "timestamp"], name="littlebro_event_anonymous"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("collection", "event_id"), name="littlebro_event_unique")
                ],
            },
        ),
    ]
