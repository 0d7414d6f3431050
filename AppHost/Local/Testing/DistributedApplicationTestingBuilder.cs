using Aspire.Hosting.Local;

namespace Aspire.Hosting.Testing;

/// <summary>Makes builders for tests.</summary>
public static class DistributedApplicationTestingBuilder
{
    /// <summary>
    /// Runs the entry point of the AppHost up to its call of Build(), and hands its builder to the test.
    /// </summary>
    public static Task<IDistributedApplicationTestingBuilder> CreateAsync<TEntryPoint>(
        CancellationToken cancellationToken = default)
        where TEntryPoint : class => CreateAsync<TEntryPoint>([], cancellationToken);

    public static async Task<IDistributedApplicationTestingBuilder> CreateAsync<TEntryPoint>(
        string[] args, CancellationToken cancellationToken = default)
        where TEntryPoint : class =>
        new TestingBuilder(await EntryPointHook.RunAsync(typeof(TEntryPoint).Assembly, args, cancellationToken));

    /// <summary>An empty application, to which the test adds resources.</summary>
    public static IDistributedApplicationTestingBuilder Create(params string[] args) => new TestingBuilder(
        new LocalApplicationBuilder(new DistributedApplicationOptions { Args = args }, new EntryPointHook()));
}
