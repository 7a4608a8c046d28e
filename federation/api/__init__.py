"""The HTTP faces of hub and agent: join, enrolment, administration."""
