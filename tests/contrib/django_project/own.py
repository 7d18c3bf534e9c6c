"""A kit of the project's own, and things that are none."""

from queuekit import QueueKit
from queuekit.contrib.django import DjangoKit

kit = DjangoKit(name="own", queues={"mail": {"attempts": 7}})
plain = QueueKit(name="plain")
