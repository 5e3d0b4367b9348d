"""The processes of one trial: the trainable, its workers, and the reasons of failed attempts."""
