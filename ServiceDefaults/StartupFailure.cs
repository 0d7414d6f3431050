namespace Broker.ServiceDefaults;

/// <summary>
/// Ends a process that cannot start with the message alone and exit code 1, in place of a stack trace and a core dump.
/// </summary>
internal static class StartupFailure
{
    private static int _installed;

    public static void InstallOnce()
    {
        if (Interlocked.Exchange(ref _installed, 1) == 0)
        {
            AppDomain.CurrentDomain.UnhandledException += OnUnhandledException;
        }
    }

    private static void OnUnhandledException(object sender, UnhandledExceptionEventArgs arguments)
    {
        if (arguments.ExceptionObject is StartupException failure)
        {
            Console.Error.WriteLine(failure.Message);
            Environment.Exit(1);
        }
    }
}
