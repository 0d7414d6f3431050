namespace Broker.ServiceDefaults;

/// <summary>
/// A service cannot start, and its user can mend it: the message says which setting is wrong and what it must be. A
/// process that called AddServiceDefaults prints the message alone and ends with exit code 1.
/// </summary>
public sealed class StartupException : Exception
{
    public StartupException(string message)
        : base(message)
    {
    }

    public StartupException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
