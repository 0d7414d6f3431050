namespace Broker.AppHost;

/// <summary>
/// The system cannot start, and its user can mend it: the message says what is wrong, what was expected and what to do.
/// </summary>
internal sealed class StartException(string message, int exitCode = StartException.Failed)
    : DistributedApplicationException(message)
{
    /// <summary>The command line or a setting is wrong.</summary>
    public const int WrongSetting = 2;

    /// <summary>Something that is needed is missing or in use.</summary>
    public const int Failed = 1;

    /// <summary>
    /// From now on the process ends with such a message alone, in place of a stack trace and a core dump.
    /// </summary>
    public static void EndWithItsMessage() => AppDomain.CurrentDomain.UnhandledException += (_, unhandled) =>
    {
        if (unhandled.ExceptionObject is StartException failure)
        {
            Console.Error.WriteLine(failure.Message);
            Environment.Exit(failure.ExitCode);
        }
    };

    private int ExitCode { get; } = exitCode;
}
