from tests.fakes.threads import no_thread_survives

__all__ = ["no_thread_survives"]
